"""Teaching against a server that is a function; both clients."""

import json
import re
from urllib.parse import parse_qs

import httpx
import pytest

from clients.errors import Rejected, Unreachable
from tests.clients.support.teaching import CLIP, COMPARISON, REPORT, SKILL, TeachingServer

TASK = {"name": "hand", "kind": "segment"}
LABELS = "video,start_s,end_s,label\na,0,2,left\nb,0,2,right\na,2,4,right\n"


@pytest.fixture
def files(tmp_path):
    """A task file, a labels file and the folder of two videos."""
    (tmp_path / "videos" / "deep").mkdir(parents=True)
    for name in ("a.mp4", "deep/b.MKV"):
        (tmp_path / "videos" / name).write_bytes(name.encode())
    (tmp_path / "task.toml").write_text('name = "hand"\nkind = "segment"\n')
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path


def test_teaching_sends_the_clips_that_are_missing_and_waits_for_the_report(mocked, files):
    server, seen, stages = TeachingServer(kept=["b"]), [], []
    with mocked(server) as client:
        report = client.teach(
            files / "task.toml",
            files / "labels.csv",
            videos=files / "videos",
            activate=True,
            threshold=0.6,
            on_clip=lambda path, place, count: seen.append((path.name, place, count)),
            on_progress=lambda progress: stages.append(progress.stage),
        )
    assert report.version == 3
    assert report.accuracy.right == 18
    assert seen == [("a.mp4", 0, 1)]
    assert stages == ["learning", "activating"]
    assert server.sent == {"a": b"a.mp4"}
    (body,) = server.taught
    assert body == {"task": TASK, "labels_csv": LABELS, "activate": True, "threshold": 0.6}


def test_a_break_loses_no_clip_that_was_sent(mocked, files):
    server = TeachingServer(breaks_at="a")
    with mocked(server, max_retries=0) as client:
        args = (files / "task.toml", files / "labels.csv")
        with pytest.raises(Unreachable):
            client.teach(*args, videos=files / "videos")
        server.breaks_at = None
        client.teach(*args, videos=files / "videos")
    assert list(server.sent) == ["a", "b"]
    assert server.uploads == ["a", "a", "b"]
    assert len(server.taught) == 1


def test_a_job_is_submitted_once_however_often_it_is_sent(mocked, files, naps):
    server = TeachingServer(kept=["a", "b"], drops=2)
    with mocked(server) as client:
        client.teach(TASK, files / "labels.csv")
    assert len(server.keys) == 3
    assert len(set(server.keys)) == 1


@pytest.mark.parametrize(
    ("names", "folder", "words"),
    [
        (["a", "z"], "videos", "one file named z (mp4, m4v, mov, mkv, webm, avi), found none"),
        (["a"], None, "keeps no clip named 'a'"),
        (["a"], "nowhere", "no such folder"),
        (["twice"], "videos", "found deep/twice.mp4 and twice.mp4"),
    ],
)
def test_videos_that_cannot_be_found_are_named(mocked, files, names, folder, words):
    for place in ("twice.mp4", "deep/twice.mp4"):
        (files / "videos" / place).touch()
    labels = [{"video": n, "start_s": 0, "end_s": 1, "label": "x"} for n in names]
    server = TeachingServer()
    with mocked(server) as client, pytest.raises(ValueError, match=re.escape(words)):
        client.teach(TASK, labels, videos=folder and files / folder)
    assert server.uploads == []
    assert server.taught == []


def test_wrong_labels_are_the_servers_to_refuse(mocked, files):
    errors = [{"pointer": "line 2", "detail": "column end_s: expected seconds"}]
    server = TeachingServer(kept=["a"], refuses=errors)
    (files / "labels.csv").write_text('video,start_s,end_s,label\na,0,"x\n')
    with mocked(server) as client, pytest.raises(Rejected) as caught:
        client.teach(TASK, files / "labels.csv")
    assert caught.value.code == "labels-invalid"
    assert caught.value.errors == (("line 2", "column end_s: expected seconds"),)
    (files / "labels.csv").write_bytes(b"video\n\xff")
    with mocked(server) as client, pytest.raises(ValueError, match="not text in UTF-8"):
        client.teach(TASK, files / "labels.csv")
    (files / "task.toml").write_text("name =")
    with mocked(server) as client, pytest.raises(ValueError, match="not TOML"):
        client.teach(files / "task.toml", LABELS)


def answering(asked, reply):
    def handler(request):
        query = parse_qs(request.url.query.decode())
        body = request.read()
        asked.append((request.method, request.url.path, query, json.loads(body or b"null")))
        return reply

    return handler


def test_versions_are_served_rolled_back_and_deleted(mocked):
    asked = []
    with mocked(answering(asked, httpx.Response(200, json=SKILL))) as client:
        skill = client.activate("hand", 2, threshold=0.5)
        assert skill.active_version == 2
        assert [version.accuracy for version in skill.versions] == [None, 0.9]
        client.deactivate("hand")
        client.rollback("hand")
        assert client.skill("hand") == skill
    with mocked(answering(asked, httpx.Response(204))) as client:
        client.delete_skill("hand")
        client.delete_skill("hand", 2)
        client.delete_clip("c_1")
    with mocked(answering(asked, httpx.Response(200, json={"skills": [SKILL]}))) as client:
        assert client.skills() == [skill]
    assert [(method, path, body) for method, path, _, body in asked] == [
        ("POST", "/v1/skills/hand/activate", {"version": 2, "threshold": 0.5}),
        ("POST", "/v1/skills/hand/deactivate", None),
        ("POST", "/v1/skills/hand/rollback", None),
        ("GET", "/v1/skills/hand", None),
        ("DELETE", "/v1/skills/hand", None),
        ("DELETE", "/v1/skills/hand/versions/2", None),
        ("DELETE", "/v1/clips/c_1", None),
        ("GET", "/v1/skills", None),
    ]


def test_a_roll_back_is_not_sent_twice(mocked, naps):
    asked = []

    def breaking(request):
        asked.append(request.url.path)
        raise httpx.ReadError("broke")

    with mocked(breaking) as client:
        with pytest.raises(Unreachable):
            client.rollback("hand")
        with pytest.raises(Unreachable):
            client.deactivate("hand")
    assert asked == ["/v1/skills/hand/rollback"] + ["/v1/skills/hand/deactivate"] * 4


def test_reports_comparisons_and_suggestions_are_parsed(mocked):
    asked = []
    with mocked(answering(asked, httpx.Response(200, json=REPORT))) as client:
        report = client.report("hand", 3)
        assert report.confusion.counts == [[9, 1], [1, 9]]
        assert report.forecast.labels == 30
        assert report.thresholds[-1].precision is None
    with mocked(answering(asked, httpx.Response(200, json=COMPARISON))) as client:
        assert client.compare("hand", 1, 2, LABELS).accuracy == {"1": 0.5, "2": 0.75}
    segment = {"video": "a", "start_s": 0.0, "end_s": 2.0, "votes": {"left": 0.5, "right": 0.5},
               "disagreement": 0.7, "distance": 0.3, "why": "voters disagree"}  # fmt: skip
    with mocked(answering(asked, httpx.Response(200, json={"segments": [segment]}))) as client:
        (found,) = client.suggest(TASK, count=1, clips=["a"])
        assert found.votes == segment["votes"]
    assert [(path, body) for _, path, _, body in asked] == [
        ("/v1/skills/hand/versions/3", None),
        ("/v1/skills/hand/compare", {"versions": [1, 2], "labels_csv": LABELS}),
        ("/v1/skills/suggest", {"task": TASK, "labels": [], "count": 1, "clips": ["a"]}),
    ]


def test_a_kept_clip_has_the_name_that_labels_call_it(mocked, files):
    server = TeachingServer()
    with mocked(server) as client:
        kept = client.keep_clip("Küche 1", files / "videos" / "a.mp4", keep_video=True)
        assert kept.id == CLIP["id"]
        assert server.queries == [{"name": "Küche 1", "keep_video": "true"}]
        assert [clip.name for clip in client.clips()] == ["Küche 1"]


def test_teaching_may_be_off(mocked):
    problem = {"code": "teaching-off", "detail": "off", "status": 404}
    reply = httpx.Response(404, json=problem)
    with mocked(lambda _: reply) as client, pytest.raises(Rejected) as caught:
        client.clips()
    assert caught.value.code == "teaching-off"
