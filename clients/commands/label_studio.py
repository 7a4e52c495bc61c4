"""A machine learning backend for Label Studio: predictions that appear in its timeline."""

import argparse
import logging
import os

from clients.commands import arguments as choices
from clients.commands import connection
from clients.label_studio.backend import Backend, BackendServer
from clients.label_studio.clips import Clips


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's flags."""
    parser.add_argument(
        "label_studio",
        metavar="LABEL_STUDIO_URL",
        help="where Label Studio is, such as http://127.0.0.1:8081; clips come from there alone",
    )
    parser.add_argument("--host", default="127.0.0.1", help="to listen on; default: %(default)s")
    parser.add_argument("--port", type=int, default=9090, help="default: %(default)s")
    connection.add_arguments(parser)
    choices.add_arguments(parser)
    parser.epilog = (
        "LABEL_STUDIO_API_KEY is a token of a user who sees the clips, from Label Studio's "
        f"Account & Settings. {parser.epilog}"
    )


def run(arguments: argparse.Namespace) -> int:
    """Listens until it is interrupted; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with connection.connect(arguments) as client:
        limits = client.limits()
        token = os.environ.get("LABEL_STUDIO_API_KEY")
        address, max_bytes = arguments.label_studio, limits.max_upload_bytes
        with Clips(address, token=token, max_bytes=max_bytes) as clips:
            backend = Backend(client, clips, choices.choices_of(arguments))
            with BackendServer(backend, arguments.host, arguments.port) as server:
                print(f"listening on http://{arguments.host}:{server.server_port}", flush=True)
                server.serve_forever()
    return 0
