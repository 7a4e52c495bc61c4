"""Live streams in real time: senders of pictures, what came back, and how late."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from bench.load.answers import percentile
from clients.api.live import LiveChoices, LivePlace, live_messages
from clients.errors import Busy, ClientError
from clients.results.live import LiveAnswer, LiveMessage, LiveSkipped, LiveSummary

RATE = 30
PICTURES = 60
"""Different pictures of a stream, sent over and over."""


@dataclass
class Stream:
    """What one stream saw.

    Attributes:
        lags_ms: of its answers: from sending the last frame of the window to the answer.
        skipped: windows left out.
        refusal: why it was refused; None: it was not.
        error: why it ended early; None: it did not.
        is_summarised: the summary came.
    """

    lags_ms: list[float] = field(default_factory=list)
    skipped: int = 0
    refusal: str | None = None
    error: str | None = None
    is_summarised: bool = False


def pictures(width: int, height: int, *, seed: int = 0) -> list[bytes]:
    """Returns JPEGs of a moving pattern with some noise, as large as a camera's."""
    generator = np.random.default_rng(seed)
    x, y = np.arange(width), np.arange(height)[:, None]
    noise = generator.integers(0, 12, (height, width, 3))
    made = []
    for k in range(PICTURES):
        wave = 110 + 60 * np.sin((x + 4 * k) / 23) + 50 * np.cos((y - 3 * k) / 17)
        channels = [wave, np.roll(wave, 5 * k, axis=1), 230 - wave]
        image = np.clip(np.stack(channels, axis=2) + noise, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=85)
        made.append(file.getvalue())
    return made


async def run_streams(
    place: LivePlace,
    count: int,
    seconds: float,
    images: Sequence[bytes],
    *,
    choices: LiveChoices | None = None,
    is_paced: bool = True,
    opening_strides: int = 0,
    on_answer: Callable[[float], None] = lambda _: None,
) -> list[Stream]:
    """Sends streams side by side, each in its own time, evenly shifted; returns what they saw.

    All of them last until `seconds` after the last one was opened.

    Args:
        place: the server.
        count: streams.
        seconds: of all together; without end of pictures, as a camera.
        images: of `pictures`.
        choices: options of each stream; default: the server's.
        is_paced: sent in real time; False: as fast as they are taken.
        opening_strides: from one opening to the next; 0: all are opened within one stride.
        on_answer: called with each answer's end, in seconds of the stream.
    """
    wanted: LiveChoices = {"rate": RATE, **(choices or {})}
    between_s = (opening_strides + 1 / count) * 16 / RATE

    async def frames(lasts_s: float, sent_s: list[float]) -> AsyncIterator[tuple[float, bytes]]:
        begun_s = time.perf_counter()
        for k in range(round(lasts_s * RATE)):
            if is_paced:
                await asyncio.sleep(begun_s + k / RATE - time.perf_counter())
            sent_s.append(time.perf_counter())
            yield k / RATE, images[k % len(images)]

    async def stream(k: int) -> Stream:
        sent_s: list[float] = []
        await asyncio.sleep(k * between_s)
        lasts_s = seconds + (count - 1 - k) * between_s
        return await _stream(place, frames(lasts_s, sent_s), sent_s, wanted, on_answer)

    return list(await asyncio.gather(*map(stream, range(count))))


async def _stream(
    place: LivePlace,
    frames: AsyncIterator[tuple[float, bytes]],
    sent_s: Sequence[float],
    choices: LiveChoices,
    on_answer: Callable[[float], None],
) -> Stream:
    seen = Stream()
    try:
        async for message in live_messages(place, frames, choices):
            _note(seen, message, sent_s)
            if isinstance(message, LiveAnswer):
                on_answer(message.to_s)
    except Busy as error:
        seen.refusal = str(error)
    except ClientError as error:
        seen.error = str(error)
    return seen


def _note(seen: Stream, message: LiveMessage, sent_s: Sequence[float]) -> None:
    if isinstance(message, LiveAnswer):
        last = min(round(message.to_s * RATE), len(sent_s)) - 1
        seen.lags_ms.append(1000 * (time.perf_counter() - sent_s[last]))
    elif isinstance(message, LiveSkipped):
        seen.skipped += message.windows
    elif isinstance(message, LiveSummary):
        seen.is_summarised = True


def lags(streams: Sequence[Stream]) -> dict[str, float] | None:
    """Returns percentiles of all lags in ms; None where no answer came."""
    values = sorted(lag for stream in streams for lag in stream.lags_ms)
    if not values:
        return None
    return {
        "p50": round(percentile(values, 0.5), 1),
        "p99": round(percentile(values, 0.99), 1),
        "answers": len(values),
    }
