"""Sub-command `label-studio`: a machine learning backend for Label Studio."""

import argparse
import logging
import os
from contextlib import ExitStack
from pathlib import Path

from clients.api.label_files import task_of
from clients.commands import arguments
from clients.label_studio.backend import Backend, BackendServer
from clients.label_studio.clips import Clips
from clients.label_studio.fitting import FitChoices, Fitting


class Options(arguments.ClipOptions):
    """Parsed flags."""

    label_studio: str
    host: str
    port: int
    teach: Path | None
    fit_after: int | None
    threshold: float | None
    project: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    parser.add_argument(
        "label_studio",
        metavar="LABEL_STUDIO_URL",
        help="base URL of Label Studio, such as http://127.0.0.1:8081; clips come from there alone",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; default: %(default)s"
    )
    parser.add_argument(
        "--port", type=int, default=9090, help="port to listen on; default: %(default)s"
    )
    fit = parser.add_argument_group("learning from annotations")
    fit.add_argument(
        "--teach",
        type=Path,
        metavar="TASK.toml",
        help="the skill that a project's annotations teach when Label Studio starts a training; it "
        "is served as soon as it is learnt",
    )
    fit.add_argument(
        "--fit-after",
        type=_count,
        metavar="N",
        help="also after N new, changed or deleted annotations, where Label Studio has a webhook "
        "to this backend's /webhook",
    )
    fit.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="least probability of an answer that is certain",
    )
    fit.add_argument(
        "--project",
        type=int,
        metavar="ID",
        help="the only project that may teach; default: any that the token sees",
    )
    arguments.add_server(parser)
    arguments.add_choices(parser)
    parser.epilog = (
        "LABEL_STUDIO_API_KEY is a token of a user who sees the clips, from Label Studio's "
        f"Account & Settings. {parser.epilog}"
    )


def run(options: Options) -> int:
    """Listens until it is interrupted; returns the exit status."""
    choices = fit_choices(options)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with arguments.connect(options.url) as client, ExitStack() as stack:
        limits = client.limits()
        token = os.environ.get("LABEL_STUDIO_API_KEY")
        address, max_bytes = options.label_studio, limits.max_upload_bytes
        clips = stack.enter_context(Clips(address, token=token, max_bytes=max_bytes))
        fitting = None
        if choices is not None:
            fitting = stack.enter_context(Fitting(client, clips, choices))
        backend = Backend(client, clips, arguments.choices_of(options), fitting)
        with BackendServer(backend, options.host, options.port) as server:
            print(f"listening on http://{options.host}:{server.server_port}", flush=True)
            server.serve_forever()
    return 0


def fit_choices(options: Options) -> FitChoices | None:
    """Returns what is taught, and when; None where nothing is.

    Raises:
        ValueError: the task file is no TOML, or a flag is without `--teach`.
        OSError: it cannot be read.
    """
    if options.teach is None:
        if (options.fit_after, options.threshold, options.project) != (None, None, None):
            raise ValueError("--fit-after, --threshold and --project need --teach TASK.toml")
        return None
    task = task_of(options.teach)
    return FitChoices(task, options.threshold, options.project, options.fit_after)


def _count(text: str) -> int:
    """Parses a whole number above 0, for argparse."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return value
