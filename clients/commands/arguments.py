"""Flags that several sub-commands share: the server, the clip, the request options."""

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from clients.api.requests import Choices, UploadProgress, without_none
from clients.client import AsyncEgoPackClient, EgoPackClient
from clients.commands import EPILOG
from clients.errors import ServerFault
from clients.results.predictions import PredictionResult


class ServerOptions(argparse.Namespace):
    """Parsed flags of a sub-command that calls a server."""

    url: str


class SearchOptions(ServerOptions):
    """Parsed flags that requests about a clip and searches share."""

    clip: Path | None
    features: Path | None
    segment: list[tuple[float, float]] | None
    segment_s: float | None
    top_k: int | None
    video_track: int | None


class ClipOptions(SearchOptions):
    """Parsed flags of a request about a clip."""

    task: list[str] | None
    seed: int | None


class AnswerOptions(ClipOptions):
    """Parsed flags of a sub-command that shows an answer, saved or new."""

    clip: Path
    answer: Path | None


def add_server(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that names the server."""
    parser.add_argument(
        "--url",
        default=os.environ.get("EGOPACK_URL", "http://127.0.0.1:8080"),
        help="base URL of the server; default: %(default)s",
    )
    parser.epilog = EPILOG


def connect(url: str) -> EgoPackClient:
    """Returns a client of the server; the caller closes it."""
    return EgoPackClient(url, api_key=os.environ.get("EGOPACK_API_KEY"))


def connect_async(url: str, *, max_retries: int) -> AsyncEgoPackClient:
    """Returns an asyncio client of the server; the caller closes it."""
    key = os.environ.get("EGOPACK_API_KEY")
    return AsyncEgoPackClient(url, api_key=key, max_retries=max_retries)


def add_source(parser: argparse.ArgumentParser) -> None:
    """Adds the clip and, in its place, its features."""
    parser.add_argument("clip", type=Path, nargs="?", help="video file to send")
    parser.add_argument(
        "--features",
        type=Path,
        metavar="FILE",
        help="file that `features` wrote, in the clip's place: nothing is decoded again",
    )


def source_of(options: SearchOptions) -> dict[str, Any]:
    """Returns the clip, or its features, as keyword arguments of a call.

    Raises:
        ValueError: both, or neither.
    """
    if (options.clip is None) == (options.features is None):
        raise ValueError("give a clip or --features FILE, one of the two")
    return without_none({"clip": options.clip, "features": options.features})


@contextmanager
def upload_bar(path: Path | None) -> Iterator[UploadProgress]:
    """Yields an upload's progress callback; it draws a bar if stderr is a terminal."""
    with tqdm(
        desc=path.name if path else "", unit="B", unit_scale=True, leave=False, disable=None
    ) as bar:

        def show(sent: int, size: int) -> None:
            bar.total = size
            bar.update(sent - bar.n)

        yield show


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Adds the request options of `EgoPackClient.predict`."""
    parser.add_argument(
        "--task",
        action="append",
        help="task to answer: ar, lta, oscc, pnr or a skill of the bundle; repeat it for several; "
        "default: all",
    )
    add_segments(parser)
    parser.add_argument(
        "--seed", type=int, metavar="N", help="seed of the sampled futures; default: the server's"
    )


def add_segments(parser: argparse.ArgumentParser) -> None:
    """Adds the request options that searches have too."""
    parser.add_argument(
        "--segment",
        action="append",
        nargs=2,
        type=float,
        metavar=("START_S", "END_S"),
        help="segment to answer for, in seconds; repeat it for several; default: the clip cut "
        "evenly",
    )
    parser.add_argument(
        "--segment-s",
        type=float,
        metavar="SECONDS",
        help="length of the even cuts; default: the server's",
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="entries in each ranked list; default: the server's"
    )
    parser.add_argument(
        "--video-track",
        type=int,
        metavar="N",
        help="video track of the file to read, counted from 0; default: the one that the file "
        "marks as default",
    )


def choices_of(options: ClipOptions) -> Choices:
    """Returns the request options as keyword arguments of `EgoPackClient.predict`."""
    return {
        "tasks": options.task,
        "segments": options.segment,
        "segment_s": options.segment_s,
        "top_k": options.top_k,
        "seed": options.seed,
        "video_track": options.video_track,
    }


def add_answer(parser: argparse.ArgumentParser) -> None:
    """Adds the clip, and where its answer comes from."""
    parser.add_argument("clip", type=Path, help="video file that the answer is about")
    parser.add_argument(
        "--answer",
        type=Path,
        metavar="FILE",
        help="JSON that `predict --json` printed; default: send the clip to the server",
    )
    add_server(parser)
    add_choices(parser)


def answer_of(options: AnswerOptions) -> PredictionResult:
    """Returns the saved answer or a new one.

    Raises:
        ClientError: the server does not answer.
        OSError: a file cannot be read.
        ValueError: the file holds no answer.
    """
    if options.answer is not None:
        try:
            return PredictionResult.from_dict(json.loads(options.answer.read_bytes()))
        except (ValueError, ServerFault) as error:
            raise ValueError(f"{options.answer} holds no answer: {error}") from error
    with connect(options.url) as client:
        return client.predict(options.clip, **choices_of(options))
