import asyncio
import stat
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from server.api.uploads.pace import Pace
from server.api.uploads.receive import UploadReceiver
from server.errors import (
    BodyTooLarge,
    CallerGone,
    DeadlineExceeded,
    FieldInvalid,
    MalformedRequest,
    UnsupportedMedia,
)
from tests.support.waiting import PATIENCE_S


def request_of(chunks, content_type, *, ends=True):
    """A request whose body arrives in these chunks, and then ends or breaks off."""
    messages = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    messages.append(
        {"type": "http.request", "body": b"", "more_body": False}
        if ends
        else {"type": "http.disconnect"}
    )

    async def receive():
        return messages.pop(0)

    headers = [] if content_type is None else [(b"content-type", content_type.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@asynccontextmanager
async def room(caller, declared):
    """Room for every body."""
    yield lambda size: None


def receiver(folder, *, max_bytes=100, timeout_s=5):
    pace = Pace(least_bytes_s=1, stall_s=PATIENCE_S)
    return UploadReceiver(folder, max_bytes=max_bytes, timeout_s=timeout_s, pace=pace, reserve=room)


def receive(folder, chunks, content_type="video/mp4", *, ends=True, max_bytes=1 << 20, timeout_s=5):
    """Returns (bytes on disk, options, file name) as seen while the upload exists."""

    async def main():
        async with spool.receive(request_of(chunks, content_type, ends=ends)) as upload:
            assert upload.size_bytes == upload.path.stat().st_size
            assert stat.S_IMODE(upload.path.parent.stat().st_mode) == 0o700
            return upload.path.read_bytes(), upload.options, upload.path.name

    spool = receiver(folder, max_bytes=max_bytes, timeout_s=timeout_s)
    try:
        return asyncio.run(main())
    finally:
        assert [p for p in folder.rglob("*") if p.is_file()] == []
        spool.directory.remove()
        assert list(folder.iterdir()) == []


def form(**parts):
    """The bytes and content type of a form, as httpx writes them."""
    request = httpx.Request("POST", "http://test", files=parts)
    return request.read(), request.headers["content-type"]


def pieces(data, sizes):
    cut, start = [], 0
    for size in sizes:
        cut.append(data[start : start + size])
        start += size
    return [*cut, data[start:]]


@settings(max_examples=50, deadline=None)
@given(
    video=st.binary(min_size=1, max_size=200) | st.just(b"\r\n--x\r\n--" * 9),
    sizes=st.lists(st.integers(1, 60), max_size=30),
)
def test_a_form_arrives_whole_however_it_is_cut(tmp_path_factory, video, sizes):
    body, kind = form(video=("../../x", video), request=(None, b'{"top_k": 3}'))
    folder = tmp_path_factory.mktemp("spool")
    data, options, name = receive(folder, pieces(body, sizes), kind)
    assert (data, options) == (video, b'{"top_k": 3}')
    assert name.isalnum()


@pytest.mark.parametrize("kind", ["video/mp4", "video/x-matroska", "application/octet-stream"])
def test_a_raw_body_is_the_clip(tmp_path, kind):
    assert receive(tmp_path, [b"ab", b"c"], kind)[:2] == (b"abc", None)


def test_a_large_body_is_written_in_order(tmp_path):
    chunks = [bytes([n]) * 100_000 for n in range(40)]
    assert receive(tmp_path, chunks, max_bytes=1 << 23)[0] == b"".join(chunks)


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/json", "multipart/mixed"])
def test_other_content_types_are_refused(tmp_path, kind):
    with pytest.raises(UnsupportedMedia):
        receive(tmp_path, [b"x"], kind)


def test_one_byte_over_the_limit_is_too_large(tmp_path):
    assert len(receive(tmp_path, [b"x" * 50, b"y" * 50], max_bytes=100)[0]) == 100
    with pytest.raises(BodyTooLarge):
        receive(tmp_path, [b"x" * 50, b"y" * 51], max_bytes=100)


def test_an_empty_body_is_malformed(tmp_path):
    with pytest.raises(MalformedRequest):
        receive(tmp_path, [])
    body, kind = form(video=("a", b""))
    with pytest.raises(MalformedRequest):
        receive(tmp_path, [body], kind)


def test_a_form_cut_short_is_malformed(tmp_path):
    body, kind = form(video=("a", b"x" * 100))
    for end in (10, len(body) - 60, len(body) - 5):
        with pytest.raises(MalformedRequest):
            receive(tmp_path, [body[:end]], kind)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; b="x"']
)
def test_a_form_without_boundary_is_malformed(tmp_path, kind):
    with pytest.raises(MalformedRequest):
        receive(tmp_path, [b"x"], kind)


def test_garbage_in_a_form_is_malformed(tmp_path):
    with pytest.raises(MalformedRequest):
        receive(tmp_path, [b"not a form at all"], "multipart/form-data; boundary=x")
    with pytest.raises(MalformedRequest):
        receive(tmp_path, [b"x"], "multipart/form-data; boundary=" + "b" * 5000)


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        ({"request": (None, b"{}")}, "/video"),
        ({"video": ("a", b"x"), "clip": ("b", b"y")}, "/clip"),
        ({"video": ("a", b"x"), "request": (None, b" " * 70_000)}, "/request"),
    ],
)
def test_wrong_parts_are_pointed_at(tmp_path, parts, where):
    body, kind = form(**parts)
    with pytest.raises(FieldInvalid) as caught:
        receive(tmp_path, [body], kind)
    assert caught.value.errors[0][0] == where


def test_a_part_sent_twice_is_refused(tmp_path):
    request = httpx.Request(
        "POST", "http://test", files=[("video", ("a", b"x")), ("video", ("b", b"y"))]
    )
    with pytest.raises(FieldInvalid, match="twice"):
        receive(tmp_path, [request.read()], request.headers["content-type"])


def test_a_caller_that_hangs_up_leaves_nothing(tmp_path):
    with pytest.raises(CallerGone):
        receive(tmp_path, [b"x" * 10], ends=False)


def test_a_body_that_takes_too_long_is_given_up(tmp_path):
    spool = receiver(tmp_path, timeout_s=0.02)

    async def stalled():
        await asyncio.sleep(5)

    async def main():
        scope = {"type": "http", "headers": [(b"content-type", b"video/mp4")]}
        async with spool.receive(Request(scope, stalled)):
            raise AssertionError("nothing arrived")

    with pytest.raises(DeadlineExceeded):
        asyncio.run(main())
    spool.directory.remove()


def test_an_error_while_answering_removes_the_file_too(tmp_path):
    spool = receiver(tmp_path)

    async def main():
        async with spool.receive(request_of([b"x"], "video/mp4")) as upload:
            assert upload.path.exists()
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        asyncio.run(main())
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    spool.directory.remove()
