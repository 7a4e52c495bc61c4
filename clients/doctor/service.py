"""Checks of a running server: readiness, API key, models, limits, a sample request."""

import time
from collections.abc import Iterator
from pathlib import Path

from clients.client import EgoPackClient
from clients.doctor.findings import Finding, well, wrong
from clients.errors import Busy, ClientError, KeyRefused, Unreachable
from clients.results.predictions import Limits


def check_server(client: EgoPackClient, sample: Path) -> Iterator[Finding]:
    """Yields findings up to the first that is wrong; `sample` is a clip to predict."""
    try:
        client.wait_ready(0)
        yield well("server", "reachable and ready")
        models = client.models()
        yield well("key", "accepted")
        for model in models:
            yield well("model", f"{model.name} {model.version}: {', '.join(model.tasks)}")
        yield well("limits", _in_words(client.limits()))
        started_s = time.monotonic()
        result = client.predict(sample)
        took_s = time.monotonic() - started_s
        yield well("sample", f"{len(result.segments)} segments answered in {took_s:.2f} s")
    except (ClientError, OSError) as error:
        yield _explain(error)


def _in_words(limits: Limits) -> str:
    text = (
        f"clips up to {limits.max_duration_s:g} s and {limits.max_upload_bytes / 2**20:g} MiB, "
        f"{limits.max_requests} requests at once"
    )
    longest_s = limits.job_max_duration_s
    return text if longest_s is None else f"{text}, jobs up to {longest_s:g} s"


def _explain(error: ClientError | OSError) -> Finding:
    if isinstance(error, Unreachable):
        advice = "start it with python -m server, or name another with --url"
        return wrong("server", str(error), advice)
    if isinstance(error, KeyRefused):
        return wrong("key", str(error), "set EGOPACK_API_KEY to a key that the server accepts")
    if isinstance(error, Busy):
        advice = "wait; if it stays so, its log says why"
        return wrong("server", f"reachable, but {error} ({error.code})", advice)
    code = getattr(error, "code", "") or type(error).__name__
    request_id = getattr(error, "request_id", "")
    where = f"the server's log has more, at request {request_id}" if request_id else "see its log"
    return wrong("server", f"{error} ({code})", where)
