"""A multipart body is read as RFC 2046 has it, however it is cut."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.api.uploads.body_parts import MAX_BOUNDARY_BYTES, MAX_HEAD_BYTES, BodyParts
from server.errors import MalformedRequest

BOUNDARY = b"b=_x"
DELIMITER = b"\r\n--" + BOUNDARY
NEAR = [DELIMITER[:n] for n in range(1, len(DELIMITER))] + [
    DELIMITER + b"x", DELIMITER + b" x", DELIMITER + b"-x", DELIMITER + b" \r", DELIMITER + b"\r\r",
    b"\n--" + BOUNDARY + b"\r\n", b"--" + BOUNDARY + b"\r\n", b"-", b" ", b"\r\n",
]  # fmt: skip
"""What is content, but only just."""


def is_content(data):
    """Whether no line of these bytes is a delimiter."""
    rest = (b"\r\n" + data).split(DELIMITER)[1:]
    return not any(
        line.startswith(b"--") or line.lstrip(b" \t").startswith(b"\r\n") for line in rest
    )


CONTENT = (
    (st.lists(st.sampled_from(NEAR) | st.binary(max_size=9), max_size=9))
    .map(b"".join)
    .filter(lambda data: is_content(data + b"\r\n"))
)
PADDING = st.text(" \t", max_size=5).map(str.encode)
HEADS = st.dictionaries(
    st.from_regex(rb"[a-z][a-z-]{0,8}", fullmatch=True),
    st.from_regex(rb"[!-~]([ -~]{0,9}[!-~])?", fullmatch=True),
    max_size=3,
)
PARTS = st.lists(st.tuples(PADDING, HEADS, CONTENT), max_size=4)


def cut(data, sizes):
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [*pieces, data[start:]]


def read(pieces, boundary=BOUNDARY):
    found = []

    def begin(headers):
        found.append((headers, []))

    def add(data):
        assert data
        found[-1][1].append(data)

    body = BodyParts(boundary, begin, add)
    for piece in pieces:
        body.feed(piece)
    return [(headers, b"".join(pieces)) for headers, pieces in found], body.is_complete


def wire(parts, preamble=b"", epilogue=b""):
    """A body as the standard has it."""
    made = [preamble] if preamble else []
    for padding, headers, content in parts:
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers.items())
        made.append(b"--" + BOUNDARY + padding + b"\r\n" + head + b"\r\n" + content)
    return b"\r\n".join([*made, b"--" + BOUNDARY + b"--" + epilogue])


@given(
    parts=PARTS,
    preamble=CONTENT,
    epilogue=st.just(b"") | st.binary(max_size=20) | st.sampled_from(NEAR),
    sizes=st.lists(st.integers(0, 9), max_size=60),
)
@example([(b" \t", {b"a": b"b"}, DELIMITER + b" x")], b"This is a preamble.", b" \r\nbye", [1] * 99)
@example([(b"", {}, b""), (b" ", {}, b"\r\n")], b"\r\n", DELIMITER + b"\r\n\r\nmore", [1] * 99)
def test_parts_come_out_whole_whatever_stands_around_them(parts, preamble, epilogue, sizes):
    found, is_complete = read(cut(wire(parts, preamble, epilogue), sizes))
    assert found == [(headers, content) for _, headers, content in parts]
    assert is_complete


@given(parts=PARTS.filter(bool), data=st.data())
def test_a_body_is_incomplete_until_its_closing_delimiter(parts, data):
    body = wire(parts)
    assert not read([body[: data.draw(st.integers(0, len(body) - 1))]])[1]


def test_folded_headers_are_unfolded_and_the_case_of_names_does_not_count():
    head = b"Content-DISPOSITION:form-data;\r\n\t name=video \r\nX:\r\n\r\n"
    (part,), _ = read([b"--b=_x\r\n" + head + b"data" + DELIMITER + b"--"])
    assert part == ({b"content-disposition": b"form-data; name=video", b"x": b""}, b"data")


@pytest.mark.parametrize(
    "head",
    [
        b"no colon", b": no name", b"a b: c", b"a : b", b" folded: first", b"\xff: x", b"a\n: b",
        DELIMITER[2:], b"a: " + b"x" * MAX_HEAD_BYTES,
    ],
)  # fmt: skip
def test_headers_that_are_none_are_refused(head):
    with pytest.raises(MalformedRequest, match="headers"):
        read([b"--b=_x\r\n" + head + b"\r\n\r\ndata"])


def test_a_head_without_end_is_refused_before_it_fills_the_memory():
    def endless():
        yield b"--b=_x\r\na: "
        for _ in range(10 * MAX_HEAD_BYTES):
            yield b"x" * 10
        raise AssertionError("took it all")

    with pytest.raises(MalformedRequest, match="longer than"):
        read(endless())


@pytest.mark.parametrize("boundary", [b"", b"b" * (MAX_BOUNDARY_BYTES + 1)])
def test_a_boundary_that_is_none_is_refused(boundary):
    with pytest.raises(MalformedRequest, match="boundary is not valid"):
        read([], boundary)


def test_lines_that_end_without_a_carriage_return_are_content():
    found, is_complete = read([b"--b=_x\n\ndata\n--b=_x--"])
    assert (found, is_complete) == ([], False)


@pytest.mark.parametrize(
    "content", [b"\r\n--b=_x ", b"\r\n--b=_x" + b" " * 40, b"\r\n--b=_", b"\r", b"-"]
)
def test_content_that_looks_like_delimiters_takes_no_longer(content):
    """Each is looked at once: eight times the content takes eight times as long, not 64 times."""

    def seconds(size):
        body = b"--b=_x\r\n\r\n" + (content + b"y") * (size // len(content))
        begun = time.process_time()
        read([body])
        return time.process_time() - begun

    seconds(1 << 16)
    assert seconds(1 << 21) < 24 * max(0.004, min(seconds(1 << 18) for _ in range(3)))
