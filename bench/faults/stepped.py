"""Server whose wall clock can be stepped: `python -m bench.faults.stepped CLOCK FLAG...`.

The file CLOCK holds the seconds by which the clock is wrong.
"""

import os
import sys
import time
from pathlib import Path

from server.__main__ import main


def step_by(clock: Path) -> None:
    """Makes `time.time` wrong by what the file says, which stays open: descriptors may run out."""
    right, file = time.time, os.open(clock, os.O_RDONLY)
    time.time = lambda: right() + float(os.pread(file, 32, 0) or 0)


if __name__ == "__main__":
    step_by(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
