"""Features in files that are not what they say."""

import json

import numpy as np

from tests.server.support.fakes import clip
from tests.server.support.probe import pieces, probing
from tests.server.whole.test_bounds import DIGITS


def features_file(served):
    answer = served.http.post(
        "/v1/features", content=clip(), headers={"content-type": "video/mp4"}
    ).content
    end = 8 + int.from_bytes(answer[:8], "little")
    return json.loads(answer[8:end]), answer[end:]


def in_wire_format(header, tensors):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors


VALUES = [*DIGITS, '"' + "9" * 5000 + '"', "null", "[]", "NaN", "[" * 900 + "]" * 900, "x", ""]


def test_no_metadata_of_features_is_the_servers_fault(served):
    header, tensors = features_file(served)
    files = [in_wire_format(header | {"__metadata__": odd}, tensors) for odd in (None, {}, [], "x")]
    for name in header["__metadata__"]:
        for value in VALUES:
            metadata = header["__metadata__"] | {name: value}
            files.append(in_wire_format(header | {"__metadata__": metadata}, tensors))
    for shape in ([2**63, 4], [-1, 4], [1.5, 4], [], [1, 2, 3], None, "x", [10**4000, 4]):
        files.append(
            in_wire_format(header | {"features": {**header["features"], "shape": shape}}, tensors)
        )
    files += [b"", b"\xff" * 8, b"\xff" * 7, in_wire_format(b"[" * 9000, b"")]
    files += [
        in_wire_format(b"[]", b""),
        in_wire_format(b"9" * 9000, b""),
        b"\2" + bytes(7) + b"{}",
    ]
    for data in files:
        answer = served.post(data, kind="application/x-safetensors")
        assert answer.status_code in (200, 400, 422), (data[:700], answer.text)


def test_the_header_of_features_is_bounded_before_it_is_parsed(served):
    for count, status, said in ((40, 422, "at most 16384 bytes"), (20_000, 413, "body-too-large")):
        header, tensors = features_file(served)
        header["__metadata__"] |= {f"more-{n}": "[]" * 400 for n in range(count)}
        body = in_wire_format(header, tensors)
        with probing(served.transport) as reading:
            answer = served.http.post(
                "/v1/predictions",
                content=pieces(body),
                headers={"content-type": "application/x-safetensors"},
            )
        assert answer.status_code == status
        assert said in answer.text
    assert reading.grown_bytes <= 2 * len(body), reading


def test_features_of_any_size_are_answered_or_refused(served):
    header, tensors = features_file(served)
    del header["__metadata__"]["sha256"]
    start, end = header["features"]["data_offsets"]
    headers = {"content-type": "application/x-safetensors"}
    for number, status in ((3e38, 422), (-3e38, 422), (1e20, 422), (1e12, 200)):
        values = np.full((end - start) // 4, number, "<f4").tobytes()
        body = in_wire_format(header, tensors[:start] + values + tensors[end:])
        for path in ("/v1/predictions", "/v1/backpack/search"):
            answer = served.http.post(path, content=body, headers=headers)
            assert answer.status_code == status, answer.text
