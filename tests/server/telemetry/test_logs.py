import asyncio
import errno
import json
import logging
import socket
import sys

import pytest

from server.telemetry import logs
from tests.support.waiting import wait_until


def formatted(record):
    return json.loads(logs.JsonFormatter().format(record))


def record(message="hello %s", *args, **extra):
    made = logging.makeLogRecord({"msg": message, "args": args, "levelname": "INFO", "name": "x"})
    made.__dict__.update(extra)
    return made


def test_a_line_is_json_with_message_and_extras():
    line = formatted(record("hello %s", "you", ms=1.5))
    assert (line["message"], line["ms"], line["level"]) == ("hello you", 1.5, "info")
    assert "request_id" not in line


def test_a_line_names_the_request_it_belongs_to():
    token = logs.request_id.set("abc")
    try:
        assert formatted(record("x"))["request_id"] == "abc"
    finally:
        logs.request_id.reset(token)


def test_a_line_break_in_a_message_does_not_forge_a_second_line():
    assert "\n" not in logs.JsonFormatter().format(record("a\nb"))


def test_a_traceback_is_kept():
    try:
        raise ValueError("why")
    except ValueError:
        line = formatted(record("x", exc_info=sys.exc_info()))
    assert "ValueError: why" in line["traceback"]


@pytest.fixture
def restored_logging():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    access = logging.getLogger("uvicorn.access").disabled
    yield
    root.handlers[:], _ = before
    root.setLevel(before[1])
    logging.getLogger("uvicorn.access").disabled = access


def test_configured_logs_go_to_stderr(restored_logging, capsys):
    logs.configure("warning")
    logging.getLogger("a").warning("seen")
    logging.getLogger("a").info("unseen")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [json.loads(line)["message"] for line in shown.err.splitlines()] == ["seen"]


def test_one_traceback_of_a_kind_is_written_in_a_while_and_the_rest_counted():
    now_s = 0.0
    limit = logs.TracebackLimit(10.0, clock=lambda: now_s)

    def written(error):
        try:
            raise error
        except type(error):
            made = record("x", exc_info=sys.exc_info())
        return made if limit.filter(made) else None

    assert written(ValueError("a")) is not None
    assert [written(ValueError("a")) for _ in range(500)] == [None] * 500
    assert written(KeyError("b")) is not None  # another kind
    assert all(limit.filter(record("no traceback")) for _ in range(3))
    now_s = 10.0
    assert written(ValueError("a")).left_out == 500
    now_s = 20.0
    assert not hasattr(written(ValueError("a")), "left_out")


class Starved(socket.socket):
    """A listening socket of a process without descriptors."""

    asked = 0

    def accept(self):
        self.asked += 1
        raise OSError(errno.EMFILE, "Too many open files")


def test_an_accept_loop_without_descriptors_does_not_fill_the_disk(restored_logging, capsys):
    logs.configure("info")

    async def main():
        with Starved() as listening, socket.socket() as caller:
            listening.bind(("127.0.0.1", 0))
            server = await asyncio.start_server(lambda *_: None, sock=listening, backlog=1024)
            caller.setblocking(False)
            await asyncio.get_running_loop().sock_connect(caller, listening.getsockname())
            await wait_until(lambda: listening.asked)
            server.close()
            return listening.asked

    assert asyncio.run(main()) >= 1024  # the loop asks that often in one turn
    shown = capsys.readouterr().err
    assert "Too many open files" in shown
    assert len(shown) < 8192
