import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model.train.ledger import Ledger, Stopwatch

ROOT = Path(__file__).parents[3]


def test_an_interrupted_stage_counts_the_time_before_the_interruption(tmp_path):
    def interrupted():
        time.sleep(0.3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Ledger(tmp_path, {}).value("stage", "key", interrupted)
    ledger = Ledger(tmp_path, {})
    ledger.value("stage", "key", dict)
    assert 0.3 <= ledger.seconds["stage"] < 5

    again = Ledger(tmp_path, {})
    again.value("stage", "key", lambda: pytest.fail("was done before"))
    assert again.seconds["stage"] == pytest.approx(ledger.seconds["stage"], abs=0.051)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage.json"]


def test_a_stage_of_other_settings_starts_from_zero(tmp_path):
    (tmp_path / "stage-old.seconds").write_text("1000")
    ledger = Ledger(tmp_path, {})
    ledger.value("stage", "new", dict)
    assert ledger.seconds["stage"] < 5


@pytest.mark.parametrize("text", ["", "soon", "\0"])
def test_a_damaged_note_of_the_time_counts_as_none(tmp_path, text):
    (tmp_path / "note.seconds").write_text(text)
    assert Stopwatch(tmp_path / "note.seconds").seconds == 0.0


@pytest.mark.slow
def test_a_killed_process_leaves_its_time_behind(tmp_path):
    note = tmp_path / "note.seconds"
    code = (
        "import sys, time; from pathlib import Path; from model.train.ledger import Stopwatch\n"
        "with Stopwatch(Path(sys.argv[1])).running(tick_s=0.05): time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(note)], cwd=ROOT)
    try:
        while not note.exists() or float(note.read_text()) < 0.3:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert Stopwatch(note).seconds >= 0.3
