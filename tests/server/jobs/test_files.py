import os
import time

from server.jobs.files import JobFiles
from server.jobs.records import Job


def test_what_killed_servers_left_on_disk_is_removed_and_nothing_else(tmp_path):
    files = JobFiles(tmp_path)
    files.create()
    old = time.time() - 1000
    for path in ("inputs/live", "inputs/gone", "results/kept.1.json", "results/lost.2.json",
                 "results/kept.1.json.7.part"):  # fmt: skip
        (tmp_path / path).write_bytes(b"x")
        os.utime(tmp_path / path, (old, old))
    (tmp_path / "inputs/coming").write_bytes(b"x")
    swept = files.sweep(live_inputs={"live"}, results={"kept.1.json"}, min_age_s=500)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert (swept, left) == (3, ["inputs/coming", "inputs/live", "results/kept.1.json"])


def test_a_result_that_a_living_job_writes_is_not_swept(tmp_path):
    files = JobFiles(tmp_path)
    files.create()
    path = tmp_path / "results" / "live.1.json.part"
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    assert files.sweep(live_inputs={"live"}, results=set(), min_age_s=500) == 0
    assert files.sweep(live_inputs=set(), results=set(), min_age_s=500) == 1


def test_a_result_is_whole_however_often_its_disk_was_full(tmp_path, monkeypatch):
    files = JobFiles(tmp_path)
    files.create()
    monkeypatch.setattr("server.jobs.files.FLUSH_BYTES", 4)
    result = files.new_result(Job("a", "me", {}, "video", 1, "b", token=3))
    kept = tmp_path / "results"
    for number in range(9):
        if number == 4:
            kept.rename(tmp_path / "away")
        result.add(b"%d;" % number)
        if number == 6:
            (tmp_path / "away").rename(kept)
            with (kept / "a.3.json.part").open("ab") as torn:
                torn.write(b"torn")  # by a write that failed half way
    assert result.finish() == "a.3.json"
    assert [path.name for path in kept.iterdir()] == ["a.3.json"]
    with files.open_result("a.3.json") as file:
        assert file.read() == b"0;1;2;3;4;5;6;7;8;"


def test_existing_folders_are_closed_to_others(tmp_path):
    (tmp_path / "inputs").mkdir(mode=0o755)
    JobFiles(tmp_path).create()
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert modes == {"inputs": 0, "results": 0, "incoming": 0}
