import json
import logging
import sys

import pytest

from server.telemetry import logs


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
