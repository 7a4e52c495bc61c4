import json

import av
import pytest

from extract import __main__ as command
from extract.dataset.report import Entry, RunReport, kept_notices
from extract.decode.clip import Notice
from tests.extract.support.clips import write_numbered
from weights.storage.folders import LocalFolder

DAMAGED = Notice("damaged", "about 3.0% of the frames needed are missing or damaged")


def run(*words):
    return command.main([str(word) for word in words])


@pytest.fixture
def videos(tmp_path, clips):
    """One clip without its last three pictures, one of another rate, one that is whole."""
    folder = tmp_path / "videos"
    folder.mkdir()
    data = (clips / "index-first.mp4").read_bytes()
    with av.open(str(clips / "index-first.mp4")) as source:
        ends = [p.pos + p.size for p in source.demux(video=0) if p.size]
    (folder / "cut.mp4").write_bytes(data[: ends[-4]])
    write_numbered(folder / "slow.mp4", 50, rate=25)
    write_numbered(folder / "short-and-slow.mp4", 10, rate=25)
    write_numbered(folder / "whole.mp4", 50)
    return folder


def codes(path):
    videos = json.loads(path.read_text())["videos"]
    return {name: [n["code"] for n in entry["notices"]] for name, entry in videos.items()}


EXPECTED = {
    "cut": ["damaged"],
    "slow": ["resampled-from-25fps"],
    "short-and-slow": ["resampled-from-25fps", "padded"],
    "whole": [],
}
COUNTED = {"damaged": 1, "padded": 1, "resampled-from-25fps": 2}


def test_what_is_to_be_known_of_features_is_reported_and_counted(bundle, videos, tmp_path, capsys):
    out = tmp_path / "features"
    for status in ("written", "skipped"):
        assert run(videos, "--out", out, "--encoder", bundle) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed[status], printed["notices"]) == (4, COUNTED)
        assert codes(out / "report.json") == EXPECTED
    notices = json.loads((out / "report.json").read_text())["videos"]["cut"]["notices"]
    assert notices == [{"code": "damaged", "detail": DAMAGED.detail}]


def test_a_run_over_what_shards_made_knows_their_notices(bundle, videos, tmp_path, capsys):
    out = tmp_path / "features"
    for part in ("1/2", "2/2"):
        assert run(videos, "--out", out, "--encoder", bundle, "--shard", part) == 0
    capsys.readouterr()
    assert run(videos, "--out", out, "--encoder", bundle) == 0
    assert json.loads(capsys.readouterr().out)["notices"] == COUNTED
    assert codes(out / "report.json") == EXPECTED


@pytest.mark.slow
def test_a_video_that_is_made_again_has_the_notices_of_now(bundle, videos, tmp_path, clips):
    out = tmp_path / "features"
    assert run(videos, "--out", out, "--encoder", bundle) == 0
    (videos / "cut.mp4").write_bytes((clips / "index-first.mp4").read_bytes())
    (out / "cut.safetensors").unlink()
    assert run(videos, "--out", out, "--encoder", bundle) == 0
    assert codes(out / "report.json") == EXPECTED | {"cut": []}


def test_a_report_comes_back_as_it_was_written(tmp_path):
    report = RunReport({"name": "tiny", "fingerprint": "abc"}, seconds=2.5, stopped_by="SIGINT")
    report.videos["a"] = Entry("written", "a.mp4", 3, 0.5, notices=(DAMAGED,))
    report.videos["b"] = Entry("failed", "b.mp4", why="damaged", detail="no")
    report.write(LocalFolder(tmp_path), "report.json")
    assert RunReport.read(LocalFolder(tmp_path), "report.json") == report


def test_a_report_of_an_earlier_release_has_no_notices(tmp_path):
    entry = {"status": "written", "path": "a.mp4", "windows": 3, "seconds": 0.5, "why": None,
             "detail": None}  # fmt: skip
    values = {"format": "egopack-extraction/1", "encoder": {}, "videos": {"a": entry},
              "seconds": 1.0, "stopped_by": None}  # fmt: skip
    (tmp_path / "report.json").write_text(json.dumps(values))
    found = RunReport.read(LocalFolder(tmp_path), "report.json")
    assert found.videos == {"a": Entry("written", "a.mp4", 3, 0.5)}
    assert found.summary()["notices"] == {}


@pytest.mark.parametrize("notices", [[1], [{"code": "damaged"}], 7, [{"text": "x"}]])
def test_a_report_with_notices_that_are_none_is_not_used(tmp_path, notices):
    entry = {"status": "written", "path": "a", "notices": notices}
    values = {"format": "egopack-extraction/1", "encoder": {}, "videos": {"a": entry}}
    (tmp_path / "report.json").write_text(json.dumps(values))
    assert RunReport.read(LocalFolder(tmp_path), "report.json") is None


def test_the_report_of_the_run_goes_before_others_and_failures_are_left_out(tmp_path):
    folder = LocalFolder(tmp_path)
    for name, videos in (
        ("report-1-of-2.json", {"a": Entry("written", "a", notices=(DAMAGED,))}),
        ("report.json", {"a": Entry("written", "a"), "b": Entry("failed", "b", why="x")}),
        ("report-old.json", {"c": Entry("written", "c", notices=(DAMAGED,))}),
    ):
        RunReport({"name": "tiny"}, dict(videos)).write(folder, name)
    assert kept_notices(folder, "report.json") == {"a": ()}
    assert kept_notices(folder, "report-1-of-2.json") == {"a": (DAMAGED,)}


def test_a_run_that_is_killed_has_reported_what_it_had_done(bundle, videos, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_REPORT_EVERY_S", -1.0)
    out, reports = tmp_path / "features", []
    write = RunReport.write

    def note(self, folder, name):
        write(self, folder, name)
        reports.append(codes(out / "report.json"))

    monkeypatch.setattr(RunReport, "write", note)
    assert run(videos, "--out", out, "--encoder", bundle) == 0
    assert [len(found) for found in reports] == [0, 1, 2, 3, 4, 4]


def test_a_report_that_cannot_be_written_on_the_way_does_not_end_the_run(
    bundle, videos, tmp_path, monkeypatch, caplog
):
    out, write = tmp_path / "features", RunReport.write

    def write_at_the_ends(self, folder, name):
        if 0 < len(self.videos) < 4:
            raise OSError("storage is busy")
        write(self, folder, name)

    monkeypatch.setattr(command, "_REPORT_EVERY_S", -1.0)
    monkeypatch.setattr(RunReport, "write", write_at_the_ends)
    assert run(videos, "--out", out, "--encoder", bundle) == 0
    assert caplog.text.count("storage is busy") == 3
    assert codes(out / "report.json") == EXPECTED
