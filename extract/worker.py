"""A decoding process: reads one request per line, writes frames to a descriptor and one reply.

Started by `sandbox` as `python -m extract.worker DESCRIPTOR LIMITS`; imports no torch. Requests
and replies are JSON, so that nothing a hostile clip could make this process say is ever run.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from extract.clip import Limits
from extract.confine import allow_cpu, confine
from extract.contract import FeatureContract
from extract.errors import VideoRejected


class _DescriptorSink:
    """Frames as raw bytes, one block after the other."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.shape: tuple[int, ...] = (0, 0, 0, 3)
        self.restart()

    def append(self, block: np.ndarray) -> None:
        if self._offset and block.shape[1:] != self.shape[1:]:
            raise VideoRejected("damaged", "the size of the picture changes on the way")
        data = np.ascontiguousarray(block).data.cast("B")
        while data:
            written = os.pwrite(self._descriptor, data, self._offset)
            self._offset += written
            data = data[written:]
        self.shape = (self.shape[0] + len(block), *block.shape[1:])

    def restart(self) -> None:
        os.ftruncate(self._descriptor, 0)
        self._offset = 0
        self.shape = (0, *self.shape[1:])


def main(arguments: list[str]) -> int:
    """Serves until standard input ends."""
    descriptor, limits = int(arguments[0]), Limits(**json.loads(arguments[1]))
    # Libraries print; replies need a stream of their own.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    measures = confine(limits)
    # Only now: under the limits, and before the first clip has to wait for it.
    from extract import video  # noqa: F401
    from extract.decord_reader import load_decord

    load_decord()
    _reply(replies, {"ready": measures})
    for line in sys.stdin:
        allow_cpu(limits.cpu_s)
        reply = _answer(json.loads(line), limits, _DescriptorSink(descriptor))
        _reply(replies, reply)
        if "spent" in reply:
            return 0
    return 0


def _answer(request: dict[str, Any], limits: Limits, sink: _DescriptorSink) -> dict[str, Any]:
    from extract.video import decode_into

    try:
        contract = FeatureContract.from_dict(request["contract"])
        facts = decode_into(Path(request["path"]), contract, limits, sink)
    except VideoRejected as error:
        return {"rejected": [error.code, error.detail]}
    except MemoryError:
        detail = "decoding takes more memory than is allowed"
        return {"rejected": ["too-many-pixels", detail], "spent": True}
    except Exception as error:  # the outermost edge: the parent decides what it means
        return {"failed": f"{type(error).__name__}: {error}", "spent": True}
    return {
        "info": facts.info.to_dict(),
        "shape": sink.shape,
        "source_frames": facts.source_frames.tolist(),
        "source_times_s": facts.source_times_s.tolist(),
        "notices": [asdict(notice) for notice in facts.notices],
    }


def _reply(stream: Any, message: dict[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
