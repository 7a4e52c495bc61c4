"""Ray as the second engine: what it leaves is what the local one leaves."""

import json
import os
import signal

import pytest

from extract.__main__ import main
from tests.cluster.nodes import MARK, cluster, marked
from tests.cluster.runs import BUNDLE, COUNTS, Run, features_in, verdicts
from tests.extract.support.clips import write_audio_only, write_numbered
from tests.model.support.challenge import make_challenge, options, read_files, score
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.service, pytest.mark.xdist_group("nodes")]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Clips of many lengths, and files that are none."""
    folder = tmp_path_factory.mktemp("videos")
    for number, count in enumerate(COUNTS):
        write_numbered(folder / f"clip-{number}.mp4", count)
    (folder / "text.mp4").write_bytes(b"nothing")
    write_audio_only(folder / "tone.mp4")
    data = (folder / "clip-3.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])
    return folder


@pytest.fixture(scope="module")
def local(videos, tmp_path_factory):
    """What the local engine makes of them."""
    out = tmp_path_factory.mktemp("local") / "features"
    assert main([str(videos), "--out", str(out), "--encoder", str(BUNDLE)]) == 3
    return out


@pytest.fixture(scope="module")
def start(videos, nodes):
    def start(out, *more):
        asked = ["--out", out, "--encoder", BUNDLE, "--engine", "ray", "--address", nodes.address]
        return Run("extract", videos, *asked, *more, environment=nodes.environment)

    return start


def actors(nodes):
    return [pid for worker in nodes.workers for pid in worker.pids("MapWorker")]


def test_a_cluster_makes_the_files_of_one_machine_though_an_actor_is_killed(
    start, local, nodes, tmp_path
):
    run = start(tmp_path / "out")
    run.wait_for(lambda: features_in(tmp_path / "out"))
    os.kill(actors(nodes)[0], signal.SIGKILL)
    code, printed, said = run.end()
    assert code == 3, said
    assert features_in(tmp_path / "out") == features_in(local)
    assert verdicts(tmp_path / "out") == verdicts(local)
    assert json.loads(printed)["written"] == len(COUNTS)
    assert not list((tmp_path / "out").glob(".*"))
    assert all(line.startswith("ERROR /") for line in said.splitlines()), said


@pytest.mark.slow(50)
def test_a_run_whose_driver_is_killed_is_completed_by_the_next(start, local, nodes, tmp_path):
    out = tmp_path / "out"
    run = start(out)
    run.wait_for(lambda: len(features_in(out)) >= 3)
    run.process.kill()
    run.end()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    assert 3 <= len(before) < len(COUNTS), "killed too late to show anything"
    code, printed, said = start(out).end()
    assert code == 3, said
    assert features_in(out) == features_in(local)
    # An actor may end a video after its driver is gone; what the second run found, it left alone.
    found = json.loads(printed)
    assert found["skipped"] >= len(before)
    assert found["skipped"] + found["written"] == len(COUNTS)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow(50)
def test_the_end_of_a_machine_costs_no_video(videos, local, tmp_path):
    with cluster(workers=2) as doomed:
        asked = ["--engine", "ray", "--address", doomed.address]
        run = Run("extract", videos, "--out", tmp_path / "out", "--encoder", BUNDLE, *asked,
                  environment=doomed.environment)  # fmt: skip
        run.wait_for(lambda: features_in(tmp_path / "out"))
        doomed.workers[0].kill()
        code, _, said = run.end()
    assert code == 3, said
    assert features_in(tmp_path / "out") == features_in(local)
    assert verdicts(tmp_path / "out") == verdicts(local)


@pytest.mark.slow(50)
def test_ctrl_c_ends_a_run_and_the_cluster_it_started(videos, tmp_path):
    out = tmp_path / "out"
    run = Run("extract", videos, "--out", out, "--encoder", BUNDLE, "--engine", "ray",
              environment={MARK: "ctrl-c"})  # fmt: skip
    run.wait_for(lambda: features_in(out))
    run.process.send_signal(signal.SIGINT)
    code, printed, said = run.end()
    assert code == 130, said
    assert json.loads(printed)["stopped_by"] == "SIGINT"
    wait_for(lambda: not marked("ctrl-c"))  # they are told to end, and take their time


def test_scoring_on_a_cluster_writes_the_same_challenge_files(nodes, tmp_path):
    root = make_challenge(tmp_path)
    assert score(root, tmp_path / "local") == 0
    ray = ("--engine", "ray", "--address", nodes.address)
    run = Run("model.score", *options(root, tmp_path / "ray", *ray), environment=nodes.environment)
    code, printed, said = run.end()
    assert (code, said) == (0, "")
    assert read_files(tmp_path / "ray") == read_files(tmp_path / "local")
