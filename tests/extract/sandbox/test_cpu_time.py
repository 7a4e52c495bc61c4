import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extract.sandbox.cpu_time import CpuTime
from tests.support.waiting import PATIENCE_S, wait_for

SPINS = "print(flush=True)\nwhile True: pass"
SLEEPS = "print(flush=True)\nimport time\ntime.sleep(1000)"


@pytest.fixture
def run():
    children = []

    def start(code):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        children.append(child)
        child.stdout.readline()
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_process_that_works_uses_up_its_time(run):
    cpu = CpuTime(run(SPINS).pid)
    assert not cpu.is_used_up(1e9)
    wait_for(lambda: cpu.is_used_up(0.05))
    cpu.mark()
    assert not cpu.is_used_up(1e9)


def test_marks_that_follow_each_other_closely_are_one(run):
    child = run(SPINS)
    cpu = CpuTime(child.pid)
    wait_for(lambda: cpu.used_s() > 0)
    cpu.mark(every_s=1e9)
    assert cpu.used_s() > 0
    child.send_signal(signal.SIGSTOP)
    wait_for(lambda: Path(f"/proc/{child.pid}/stat").read_text().split()[2] == "T")
    cpu.mark(every_s=1e-9)
    assert cpu.used_s() == 0.0


def test_a_process_that_waits_uses_up_nothing_however_long(run):
    cpu = CpuTime(run(SLEEPS).pid)
    time.sleep(0.1)
    cpu.mark()
    time.sleep(0.1)
    assert not cpu.is_used_up(1.0)


@pytest.mark.slow(2)
def test_a_process_that_works_past_its_limit_is_ended(run):
    child = run(SPINS)
    cpu = CpuTime(child.pid)
    cpu.allow(0.01)
    assert child.wait(PATIENCE_S) == -signal.SIGXCPU
    cpu.mark()  # an ended process is no error
