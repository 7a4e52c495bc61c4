"""Main program of a decoding process: reads requests, writes frames to a descriptor, replies.

A clip is written whole. A stream is written block by block into a ring buffer, with a line for
each block, and waits while no slot is free; a line back frees the oldest. A live stream is read
from a pipe, and each of its pictures is a block with its ticks, or ticks alone where no window
looks at them.

Started by `process`: `python -m extract.sandbox.worker DESCRIPTOR LIMITS NICENESS [live]`; has no
torch.
Requests and replies are JSON lines: no reply of a process that a hostile clip controls is executed.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from extract.contract import FeatureContract
from extract.decode.clip import Limits
from extract.errors import VideoRejected
from extract.sandbox.confine import confine, lower_priority

if TYPE_CHECKING:  # at run time only under the limits
    from extract.decode.live.protocol import LiveSink
    from extract.decode.video import FrameSink


class _DescriptorSink:
    """Frames as raw bytes, one block after the other."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.shape: tuple[int, ...] = (0, 0, 0, 3)
        self.restart()

    def expect(self, num_frames: int) -> None:
        pass

    def append(self, block: np.ndarray) -> None:
        self._offset += _write(self._descriptor, block, self._offset)
        self.shape = (self.shape[0] + len(block), *block.shape[1:])

    def restart(self) -> None:
        os.ftruncate(self._descriptor, 0)
        self._offset = 0
        self.shape = (0, *self.shape[1:])


class _RingSink:
    """Blocks of frames in slots that are used in turn."""

    def __init__(self, descriptor: int, slots: int, replies: TextIO) -> None:
        self._descriptor = descriptor
        self._slots = slots
        self._replies = replies
        self._slot_bytes = 0
        self._count = 0
        self._unread = 0

    def expect(self, num_frames: int) -> None:
        _reply(self._replies, {"expected": num_frames})

    def append(self, block: np.ndarray, **facts: object) -> None:
        self.wait(self._slots - 1)
        self._slot_bytes = self._slot_bytes or block.nbytes  # only the last block is smaller
        offset = self._count % self._slots * self._slot_bytes
        _write(self._descriptor, block, offset)
        self._count += 1
        self._unread += 1
        _reply(self._replies, {"shape": block.shape, "offset": offset, **facts})

    def restart(self) -> None:
        _reply(self._replies, {"restart": True})

    def wait(self, unread: int) -> None:
        """Waits until at most this many blocks are unread; exits when the parent is gone."""
        while self._unread > unread:
            if not sys.stdin.readline():
                raise SystemExit(0)
            self._unread -= 1


class _LiveRingSink:
    """Pictures of a live stream, a block each."""

    def __init__(self, ring: _RingSink, replies: TextIO) -> None:
        self._ring, self._replies = ring, replies

    def begin(self, start_s: float, ticks_per_s: float) -> None:
        _reply(self._replies, {"start_s": start_s, "ticks_per_s": ticks_per_s})

    def append(self, picture: np.ndarray, ticks: int, taken: int) -> None:
        self._ring.append(picture[np.newaxis], ticks=ticks, taken=taken)

    def repeat(self, ticks: int, taken: int, *, is_awaited: bool) -> None:
        # What nobody waits for goes with the next reply.
        _reply(self._replies, {"ticks": ticks, "taken": taken}, at_once=is_awaited)

    def amend(self, picture: np.ndarray, back: int) -> None:
        self._ring.append(picture[np.newaxis], back=back)


def main(arguments: list[str]) -> int:
    """Serves until standard input ends."""
    descriptor, limits = int(arguments[0]), Limits(**json.loads(arguments[1]))
    # Libraries print to descriptor 1; replies get a stream of their own.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    lower_priority(int(arguments[2]))
    measures = confine(limits)
    _import_decoder(is_live="live" in arguments)
    _reply(replies, {"ready": measures})
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "slots" in request:
            ring = _RingSink(descriptor, request["slots"], replies)
            if "live" in request:
                live = _LiveRingSink(ring, replies)
                reply = _outcome(lambda: _decode_live(request, limits, live))  # noqa: B023
            else:
                reply = _outcome(lambda: _decode(request, limits, ring))  # noqa: B023
            ring.wait(0)
        else:
            clip = _DescriptorSink(descriptor)
            reply = _outcome(lambda: _decode(request, limits, clip))  # noqa: B023
            reply["shape"] = clip.shape
        _reply(replies, reply)
        if "spent" in reply:
            return 0
    return 0


def _import_decoder(*, is_live: bool) -> None:
    """Imports what decodes: only under the limits, and before the first clip has to wait for it."""
    if is_live:
        import extract.decode.live.decode  # noqa: F401
    else:
        from extract.decode.decord_reader import load_decord

        load_decord()


def _outcome(decode: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The reply of a call, or why it has none."""
    try:
        return decode()
    except VideoRejected as error:
        return {"rejected": [error.code, error.detail]}
    except MemoryError:
        detail = "decoding takes more memory than is allowed"
        return {"rejected": ["too-many-pixels", detail], "spent": True}
    except Exception as error:  # outermost edge: the parent classifies it
        return {"failed": f"{type(error).__name__}: {error}", "spent": True}


def _decode(request: dict[str, Any], limits: Limits, sink: "FrameSink") -> dict[str, Any]:
    from extract.decode.video import decode_into

    facts = decode_into(
        Path(request["path"]),
        FeatureContract.from_dict(request["contract"]),
        limits,
        sink,
        request["reader"],
        video_track=request["video_track"],
    )
    reply = {
        "info": facts.info.to_dict(),
        "notices": [asdict(notice) for notice in facts.notices],
    }
    if request.get("wants_frames") or "slots" not in request:
        reply["source_frames"] = facts.source_frames.tolist()
    if "slots" not in request:
        reply["source_times_s"] = facts.source_times_s.tolist()
    return reply


def _decode_live(request: dict[str, Any], limits: Limits, sink: "LiveSink") -> dict[str, Any]:
    from extract.decode.live.decode import decode_live

    contract = FeatureContract.from_dict(request["contract"])
    feed, kind = request["feed"], request["live"]
    rate, takes_all = request["rate"], request["takes_all"]
    facts = decode_live(feed, kind, contract, limits, sink, rate=rate, takes_all=takes_all)
    return {"live": asdict(facts)}


def _write(descriptor: int, block: np.ndarray, offset: int) -> int:
    """Writes a block's bytes; returns how many."""
    data = np.ascontiguousarray(block).data.cast("B")
    while data:
        written = os.pwrite(descriptor, data, offset)
        offset += written
        data = data[written:]
    return block.nbytes


def _reply(stream: TextIO, message: dict[str, Any], *, at_once: bool = True) -> None:
    stream.write(json.dumps(message) + "\n")
    if at_once:
        stream.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
