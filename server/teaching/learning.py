"""Learning in a process of its own: niced, bounded in time and memory, killed with its job."""

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extract.cpu import raise_niceness
from server.errors import DeadlineExceeded, HostOutOfMemory, LabelsInvalid, OutOfMemory

logger = logging.getLogger(__name__)

MODULE = "model.train.new_skill.teaching"
REQUEST_FILE, RESULT_FOLDER, ERROR_FILE, LOG_FILE = "request.json", "result", "error.json", "log"

NICENESS = 10
LOG_BYTES = 4096
"""Of what a failed process said, for the log."""

_PASSED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "VIRTUAL_ENV")
"""Variables that the process gets: no key or token of the server is among them."""

_SET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
_NO_MEMORY = ("MemoryError", "can't allocate memory", "not enough memory", "bad_alloc")


async def learn(
    request: Mapping[str, Any], folder: Path, *, timeout_s: float, memory_mb: int
) -> Path:
    """Runs one request of `model.train.new_skill.teaching`; returns the folder of its result.

    Args:
        request: as that module reads it.
        folder: for the request and the result.
        timeout_s: longest time.
        memory_mb: most memory of data, in MiB.

    Raises:
        LabelsInvalid: the request is wrong.
        DeadlineExceeded: it took longer.
        OutOfMemory: it needs more memory, or the machine has none.
    """
    await write_request(request, folder)
    with (folder / LOG_FILE).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE, str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={name: os.environ[name] for name in _PASSED if name in os.environ} | _SET,
            start_new_session=True,  # a Ctrl-C at the terminal is the server's to handle
        )
    try:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            raise_niceness(process.pid, NICENESS)
            _limit_memory(process.pid, memory_mb)
        async with asyncio.timeout(timeout_s):
            status = await process.wait()
    except TimeoutError as error:
        raise DeadlineExceeded(f"learning took over {timeout_s:g} s") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return result_of(status, folder, memory_mb)


async def write_request(request: Mapping[str, Any], folder: Path) -> None:
    """Writes a request, which may be large, for the process to read."""
    text = await asyncio.to_thread(json.dumps, request)
    await asyncio.to_thread((folder / REQUEST_FILE).write_text, text, "utf-8")


def _limit_memory(pid: int, memory_mb: int) -> None:
    """Bounds a process's data: its address space is mostly mapped libraries."""
    if sys.platform == "linux":
        resource.prlimit(pid, resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))


def result_of(status: int, folder: Path, memory_mb: int) -> Path:
    """Returns the folder of the result of a process that has ended.

    Args:
        status: it ended with; below 0: the signal that ended it.
        folder: that it was given.
        memory_mb: most memory that it was allowed, in MiB.

    Raises:
        LabelsInvalid, OutOfMemory: as `learn` does.
        RuntimeError: it failed, and the fault is ours.
    """
    if status == 0:
        return folder / RESULT_FOLDER
    if status == 2 and (folder / ERROR_FILE).exists():
        found = json.loads((folder / ERROR_FILE).read_text("utf-8"))["errors"]
        raise LabelsInvalid(*((one["pointer"], one["message"]) for one in found))
    said = (folder / LOG_FILE).read_bytes()[-LOG_BYTES:].decode("utf-8", "replace")
    logger.error("learning ended with status %d: %s", status, said)
    if status == -signal.SIGKILL:
        raise HostOutOfMemory("the process that learns was killed, as for want of memory")
    if any(words in said for words in _NO_MEMORY):
        raise OutOfMemory(f"learning needs more than {memory_mb} MiB of memory")
    raise RuntimeError(f"learning ended with status {status}")
