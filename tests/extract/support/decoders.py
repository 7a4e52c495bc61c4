"""What tests need to know of decoding processes."""

import fcntl
import os
import struct
import termios

from tests.support.waiting import wait_for


def wait_until_asked(pid: int) -> None:
    """Waits until a request lies in the pipe of a decoding process, which must be stopped."""
    pipe = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        wait_for(lambda: any(fcntl.ioctl(pipe, termios.FIONREAD, bytes(struct.calcsize("i")))))
    finally:
        os.close(pipe)
