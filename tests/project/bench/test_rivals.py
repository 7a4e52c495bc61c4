import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path

import httpx
import pytest

from bench.load.watch import process_tree
from bench.rivals import calls
from bench.rivals.running import Rival, first_answer, missing, paused, rivals, running
from tests.extract.support.clips import noisy_frames, write_clip
from tests.support.waiting import PATIENCE_S, wait_for
from weights import SHIPPED_BUNDLE


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rivals")
    return write_clip(folder / "clip.mp4", noisy_frames(60, 64, 48))


def test_who_is_not_installed_is_named_and_not_started():
    absent = Rival("Nobody", "nobody", "no_such_package_anywhere")
    assert not absent.is_installed
    assert missing([absent]) == [
        "Nobody: not measured; `pip install no_such_package_anywhere` or the extra `rivals`"
    ]
    assert missing([Rival("FastAPI handler", "plain", "fastapi")]) == []


def test_every_rival_is_measured_as_its_guide_has_it_and_tuned():
    modules = [rival.module for rival in rivals(2)]
    assert all(modules.count(name) == 2 for name in ("lit", "plain", "ray_serve"))
    assert [rival.goal for rival in rivals(2)] == [1.5, 1.2, 1.2, 1.0, 1.5, 1.0, 1.0]


@pytest.mark.service
@pytest.mark.parametrize("module", ["plain", "by_hand"])
def test_a_handler_gives_the_answers_of_the_calls_in_process(clip, module):
    expected = calls.answer(calls.load(SHIPPED_BUNDLE, None), clip)
    with running(Rival("FastAPI handler", module, "fastapi")) as (url, _):
        found = first_answer(url, "/predict", {"video": ("clip", clip.read_bytes())})
    ours, theirs = expected["segments"][0], found["segments"][0]
    assert theirs["oscc"]["probability"] == pytest.approx(ours["oscc"]["probability"], abs=1e-5)
    assert theirs["pnr"]["scores"] == pytest.approx(ours["pnr"]["scores"], abs=1e-5)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


@pytest.mark.service
def test_a_rival_that_cannot_start_is_reported_with_its_last_words():
    with (
        pytest.raises(RuntimeError, match="no-such-flag"),
        running(Rival("FastAPI handler", "plain", "fastapi", ("--no-such-flag",))),
    ):
        pass


@pytest.mark.service
def test_a_server_that_is_not_measured_takes_no_time_of_the_other():
    def states():
        stats = [Path(f"/proc/{pid}/stat").read_text() for pid in process_tree(process.pid)]
        return [stat.rsplit(")", 1)[1].split()[0] for stat in stats]

    with subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        tree = process_tree(process.pid)
        with paused(process.pid):
            wait_for(lambda: states() == ["T", "T"])
        wait_for(lambda: "T" not in states())
        for pid in tree:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_ctrl_c_ends_a_load_with_what_was_measured_until_then():
    # Tests get no progress bar and files get none, but this one reads it.
    variables = {name: v for name, v in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "load", "soak", "--clips", "100000"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        env=variables,
    )
    try:
        seen = b""
        while not re.search(rb"[1-9]\d*/100000", seen):
            assert select.select([terminal], [], [], 240)[0], seen
            seen += os.read(terminal, 65536)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    assert b"(interrupted)" in out
    assert b"FAILED interruptions: 1" in out
    assert process.returncode == 1
    while select.select([terminal], [], [], 0)[0]:
        seen += os.read(terminal, 65536)
    assert b"Traceback" not in seen
    os.close(terminal)
    os.close(theirs)
