"""A server that was started with `nice` steps back from there: no user but root may go forward."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from extract.cpu import raise_niceness

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere niceness is the whole process's"
)


def niceness_after(first, *steps):
    """How nice a thread is that starts at `first`, as a server under `nice` does."""

    def run():
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, first)
        for levels in steps:
            raise_niceness(0, levels)
        return os.getpriority(os.PRIO_PROCESS, me)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def test_it_counts_from_where_the_caller_is():
    base = os.getpriority(os.PRIO_PROCESS, 0)
    assert niceness_after(base, 2) == base + 2
    assert niceness_after(base + 3, 2) == base + 5
    assert niceness_after(base, 2, 2) == base + 4


def test_there_is_an_end():
    assert niceness_after(17, 5) == 19
    assert niceness_after(19, 5) == 19


def test_others_are_made_nicer_than_the_caller():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        raise_niceness(child.pid, 4)
        base = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(19, base + 4)
    finally:
        child.communicate(b"\n")


def test_who_is_nicer_already_stays_so():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        os.setpriority(os.PRIO_PROCESS, child.pid, 19)
        raise_niceness(child.pid, 1)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
        child.communicate(b"\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_user_without_privileges_may_do_it():
    steps = [
        "import os, extract.cpu",
        "os.nice(12)",
        "os.setuid(65534)",
        "extract.cpu.raise_niceness(0, 5)",
        "print(os.nice(0))",
    ]
    command = [sys.executable, "-c", "; ".join(steps)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(min(19, os.getpriority(os.PRIO_PROCESS, 0) + 17))]
