"""The commands, as they are typed, against `python -m server` with the shipped bundle."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import clients.__main__ as command
from clients.client import EgoPackClient
from clients.commands.demo import SAMPLE
from clients.errors import Busy
from clients.local import LocalServer
from clients.results.predictions import PredictionResult
from tests.clients.support.awaited import Awaited

pytestmark = pytest.mark.service

CLIP = SAMPLE / "clip.mp4"


@pytest.fixture(scope="module")
def server():
    with LocalServer("--max-requests", "1", "--decode-workers", "1") as started:
        yield started


@pytest.fixture
def run(server, monkeypatch):
    monkeypatch.setenv("EGOPACK_URL", server.url)
    return command.main


@pytest.mark.parametrize("made", [EgoPackClient, Awaited])
def test_features_answer_as_the_clip_they_are_of(server, made):
    with made(server.url) as client:
        *told, of_clip = client.stream(CLIP, seed=1)
        of_features = client.predict(features=client.features(CLIP), seed=1)
        assert [one.stage for one in told][-1] == "reasoning"
        assert [s.ar for s in of_features.segments] == [s.ar for s in of_clip.segments]
        assert of_features.lta.hypotheses == of_clip.lta.hypotheses


@pytest.mark.parametrize("made", [EgoPackClient, Awaited])
def test_callers_that_are_sent_away_come_back_until_all_are_answered(server, made):
    def ask(_, max_retries=30):
        with made(server.url, max_retries=max_retries) as client:
            return client.predict(CLIP, tasks=["oscc"]).segments

    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(ask, range(4)))
        assert answers == [answers[0]] * 4
        impatient = [callers.submit(ask, k, 0) for k in range(8)]
        errors = [one.exception() for one in impatient]
    sent_away = [error for error in errors if error is not None]
    assert sent_away
    assert all(isinstance(one, Busy) and one.code == "queue-full" for one in sent_away)
    assert all(one.retry_after_s >= 1 for one in sent_away)


def test_predict_takes_features_that_features_wrote(run, tmp_path, capsys):
    track = tmp_path / "clip.safetensors"
    assert run(["features", str(CLIP), "--out", str(track)]) == 0
    assert run(["predict", "--features", str(track), "--task", "oscc", "--json"]) == 0
    answer = PredictionResult.from_dict(json.loads(capsys.readouterr().out))
    assert answer.input is None
    assert run(["predict", "--features", str(track)]) == 0
    assert f"{answer.features.count} features of tabletop" in capsys.readouterr().out
    assert run(["predict"]) == run(["predict", str(CLIP), "--features", str(track)]) == 2


def test_the_backpack_is_searched_from_the_command_line(run, server, capsys):
    assert run(["backpack", "search", str(CLIP), "--segment", "0", "2", "--top-k", "2"]) == 0
    text = capsys.readouterr().out
    assert "0.0 to 2.0 s" in text
    with EgoPackClient(server.url) as client:
        near = client.search(CLIP, segments=[(0, 2)], top_k=1).matches[0].perspectives["oscc"][0]
    assert f"{near.verb} {near.noun}" in text
    words = ["backpack", "search", "--verb", near.verb, "--noun", near.noun]
    assert run([*words, "--perspective", "pnr", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["matches"][0]["perspectives"]) == ["pnr"]
    assert run(["backpack", "search", "--verb", near.verb]) == 2
    assert run(["backpack", "search", str(CLIP), *words[2:]]) == 2


def test_a_batch_and_a_doctor_find_the_server_well(run, server, tmp_path, capsys):
    assert run(["batch", str(SAMPLE), "--out", str(tmp_path / "out"), "--task", "oscc"]) == 0
    (row,) = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    answer = json.loads((tmp_path / "out" / json.loads(row)["answer"]).read_bytes())
    assert PredictionResult.from_dict(answer).model.name == "tabletop"
    assert run(["doctor", "--server-only", "--url", server.url]) == 0
    assert "segments answered" in capsys.readouterr().out
