import asyncio
import subprocess
import sys
import threading

import pytest

from server.scheduling.daemon_thread import run_in_daemon_thread
from tests.support.waiting import PATIENCE_S

HANGS = """
import asyncio, time
from server.scheduling.daemon_thread import run_in_daemon_thread

async def main():
    async with asyncio.timeout(0.05):
        await run_in_daemon_thread("hangs", lambda: time.sleep(10000))

try:
    asyncio.run(main())
except TimeoutError:
    print("given up")
"""


def test_a_call_brings_its_result_or_its_error():
    async def main():
        assert await run_in_daemon_thread("a", lambda: threading.current_thread().name) == "a"
        with pytest.raises(ZeroDivisionError):
            await run_in_daemon_thread("b", lambda: 1 // 0)

    asyncio.run(main())


def test_a_call_that_never_returns_keeps_no_process_from_ending():
    child = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (child.stdout, child.stderr, child.returncode) == ("given up\n", "", 0)


def test_a_result_that_comes_after_the_caller_left_troubles_nobody():
    async def main():
        gate = threading.Event()
        call = asyncio.create_task(run_in_daemon_thread("late", lambda: gate.wait(PATIENCE_S)))
        await asyncio.sleep(0)
        call.cancel()
        gate.set()
        late = next((one for one in threading.enumerate() if one.name == "late"), None)
        if late is not None:
            await asyncio.to_thread(late.join)
        await asyncio.sleep(0)
        assert call.cancelled()

    asyncio.run(main())
