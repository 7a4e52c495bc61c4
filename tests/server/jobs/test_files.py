import os
import time

from server.jobs.files import JobFiles


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
