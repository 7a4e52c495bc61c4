"""Messages of a live stream as lines of text, lines of JSON, or subtitles, as they come."""

import dataclasses
import json
from collections.abc import Callable
from typing import TextIO

from clients.output.formats import cue
from clients.results.live import (
    KINDS,
    LiveAction,
    LiveAnswer,
    LiveForecast,
    LiveMessage,
    LiveSkipped,
)

_NAMES = {kind: name for name, kind in KINDS.items()}

Show = Callable[[LiveMessage], None]


def as_text(target: TextIO) -> Show:
    """Returns a function that writes a line for each event, forecast and gap."""

    def show(message: LiveMessage) -> None:
        line = _line(message)
        if line:
            print(line, file=target)

    return show


def as_json(target: TextIO) -> Show:
    """Returns a function that writes each message as a line of JSON, with its `type`."""

    def show(message: LiveMessage) -> None:
        values = {"type": _NAMES[type(message)], **dataclasses.asdict(message)}
        print(json.dumps(values), file=target)

    return show


def as_vtt(target: TextIO) -> Show:
    """Returns a function that writes subtitles, a cue for each action that has ended."""
    print("WEBVTT", file=target)

    def show(message: LiveMessage) -> None:
        if isinstance(message, LiveAction) and message.end_s is not None:
            words = f"{message.verb} {message.noun} ({message.probability:.0%})"
            print("\n" + cue(message.start_s, message.end_s, [words]), end="", file=target)

    return show


FORMATS: dict[str, Callable[[TextIO], Show]] = {"text": as_text, "json": as_json, "vtt": as_vtt}
"""Name of a format -> function that returns what shows a message."""


def _line(message: LiveMessage) -> str:
    if isinstance(message, LiveAction):
        words = f"{message.verb} {message.noun}"
        if message.end_s is None:
            return f"{message.start_s:8.2f} s  begins  {words} ({message.probability:.0%})"
        return f"{message.end_s:8.2f} s  ended   {words}, from {message.start_s:.2f} s"
    if isinstance(message, LiveForecast) and message.lta is not None:
        steps = (f"{step.verb[0].label} {step.noun[0].label}" for step in message.lta.steps[:3])
        return f"{message.at_s:8.2f} s  next    {', '.join(steps)}, ..."
    if isinstance(message, LiveSkipped):
        span = f"{message.from_s:.2f} to {message.to_s:.2f} s"
        return f"{message.to_s:8.2f} s  skipped {span}: the server cannot keep up"
    if isinstance(message, LiveAnswer) and message.oscc is not None and message.oscc.state_change:
        when = f", at {message.pnr.time_s:.2f} s" if message.pnr is not None else ""
        return f"{message.to_s:8.2f} s  change  of state ({message.oscc.probability:.0%}){when}"
    return ""
