"""`python -m server`: serves one bundle until a signal stops it.

Heavy imports are inside functions: decoding processes import this file again at their start.
"""

import sys
from typing import TYPE_CHECKING

from weights.imports import without_garbage_collection

if TYPE_CHECKING:
    from server.settings.settings import Settings

EXIT_FAILED, EXIT_USAGE = 1, 2


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 after a graceful stop, 1 if it cannot serve, 2 for bad settings.

    Args:
        argv: flags; default: the command line's.
    """
    from pydantic import ValidationError
    from pydantic_settings import CliApp

    from server.settings.settings import Settings
    from server.telemetry import logs

    try:
        settings = CliApp.run(Settings, cli_args=sys.argv[1:] if argv is None else argv)
    except ValidationError as error:
        for one in error.errors():
            flag = "".join(f"--{step} ".replace("_", "-") for step in one["loc"])
            print(f"python -m server: {flag}{one['msg']}", file=sys.stderr)
        return EXIT_USAGE
    logs.configure(settings.log_level)

    failure = _serve(settings)
    if failure is not None:
        print(f"python -m server: cannot serve: {failure}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _serve(settings: "Settings") -> str | None:
    """Serves in this process or, with `--ray`, on Ray; returns why it could not."""
    if not settings.ray:
        with without_garbage_collection():
            from server.api.serve import serve

        return serve(settings)
    try:
        from server.cluster.launch import serve_on_ray
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "ray":
            raise
        return '--ray needs Ray: pip install "egopack-server[scale]"'
    return serve_on_ray(settings)


if __name__ == "__main__":
    sys.exit(main())
