import os
import resource
from contextlib import suppress

from extract.contract import TABLETOP
from extract.sandbox.process import NICENESS
from tests.extract.sandbox.processes import status_of


def test_a_process_is_confined_and_small(pool, clips):
    pool.decode(clips / "plain.mp4", TABLETOP)
    (pid,) = pool.pids
    with open(f"/proc/{pid}/limits") as lines:
        limits = {line[:25].strip(): line[25:].split()[0] for line in lines}
    assert limits["Max address space"] == str(1536 * 2**20)
    assert limits["Max file size"] == str(512 * 2**20)
    assert limits["Max core file size"] == "0"
    with suppress(PermissionError):  # root without CAP_SYS_RESOURCE
        resource.prlimit(pid, resource.RLIMIT_CPU)
        assert limits["Max cpu time"] != "unlimited"
    assert status_of(pid, "NoNewPrivs") == "1"
    assert status_of(pid, "Seccomp") == "2"
    assert int(status_of(pid, "VmHWM")) < 200_000
    with open(f"/proc/{pid}/maps") as lines:
        assert "libtorch" not in lines.read()


def test_decoders_let_others_go_first(pool, clips):
    pool.decode(clips / "plain.mp4", TABLETOP)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    expected = min(19, ours + NICENESS)
    assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in pool.pids] == [expected]
