"""MP4 boxes, found, patched and grown, to write what no muxer would."""

import struct
from collections.abc import Callable

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts"}


def box(kind: bytes, payload: bytes) -> bytes:
    """A box around a payload."""
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def edit(data: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Returns the file with the payload of every box of a kind changed; sizes around it follow.

    A file whose index lies at its end may grow: nothing that has an address moves.
    """
    out, at = b"", 0
    while at + 8 <= len(data):
        size, found = struct.unpack_from(">I4s", data, at)
        header = 16 if size == 1 else 8
        size = struct.unpack_from(">Q", data, at + 8)[0] if size == 1 else size or len(data) - at
        payload = data[at + header : at + size]
        if found == kind:
            out += box(found, change(payload))
        elif found in CONTAINERS:
            out += box(found, edit(payload, kind, change))
        else:
            out += data[at : at + size]
        at += size
    return out


def put(payload: bytes, at: int, value: int, *, size: int = 4) -> bytes:
    """Returns a payload with a big-endian number written over its bytes."""
    return payload[:at] + value.to_bytes(size, "big") + payload[at + size :]


def place_of(data: bytes, kind: bytes) -> tuple[int, int]:
    """Returns where a box on the top level begins and ends."""
    at = 0
    while at + 8 <= len(data):
        size, found = struct.unpack_from(">I4s", data, at)
        if found == kind:
            return at, at + size
        at += size or len(data)
    raise ValueError(f"no {kind!r} box")


def index_in_front(data: bytes) -> bytes:
    """Returns an MP4 with its index before its pictures, as a stream needs it; others as they are.

    Nothing else of it changes, as it would if it were muxed again.
    """
    if data[4:8] != b"ftyp" or place_of(data, b"moov") < place_of(data, b"mdat"):
        return data
    begin, end = place_of(data, b"moov")
    _, first = place_of(data, b"ftyp")

    def moved(payload: bytes) -> bytes:
        count = struct.unpack_from(">I", payload, 4)[0]
        places = struct.unpack_from(f">{count}I", payload, 8)
        return payload[:8] + struct.pack(f">{count}I", *(at + end - begin for at in places))

    index = edit(data[begin:end], b"stco", moved)
    return data[:first] + index + data[first:begin] + data[end:]
