"""Sub-command `label-studio`: a machine learning backend for Label Studio."""

import argparse
import logging
import os

from clients.commands import arguments
from clients.label_studio.backend import Backend, BackendServer
from clients.label_studio.clips import Clips


class Options(arguments.ClipOptions):
    """Parsed flags."""

    label_studio: str
    host: str
    port: int


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
    arguments.add_server(parser)
    arguments.add_choices(parser)
    parser.epilog = (
        "LABEL_STUDIO_API_KEY is a token of a user who sees the clips, from Label Studio's "
        f"Account & Settings. {parser.epilog}"
    )


def run(options: Options) -> int:
    """Listens until it is interrupted; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with arguments.connect(options.url) as client:
        limits = client.limits()
        token = os.environ.get("LABEL_STUDIO_API_KEY")
        address, max_bytes = options.label_studio, limits.max_upload_bytes
        with Clips(address, token=token, max_bytes=max_bytes) as clips:
            backend = Backend(client, clips, arguments.choices_of(options))
            with BackendServer(backend, options.host, options.port) as server:
                print(f"listening on http://{options.host}:{server.server_port}", flush=True)
                server.serve_forever()
    return 0
