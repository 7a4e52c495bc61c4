"""Server whose wall clock can be stepped: `python -m bench.faults.stepped CLOCK FLAG...`.

The file CLOCK holds the seconds by which the clock is wrong.
"""

import sys
import time
from pathlib import Path

from server.__main__ import main


def step_by(clock: Path) -> None:
    """Makes `time.time` wrong by what the file says."""
    right = time.time
    time.time = lambda: right() + float(clock.read_text())


if __name__ == "__main__":
    step_by(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
