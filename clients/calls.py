"""Every call there is, written once; `client` and `aio` are two ways to make them."""

import httpx

from clients.api.clip_calls import ClipCalls
from clients.api.job_calls import JobCalls

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Calls(ClipCalls, JobCalls):
    """The calls behind whichever port they are given."""


def headers_of(api_key: str | None) -> dict[str, str]:
    """Returns what is sent with every request.

    Args:
        api_key: sent as a bearer token.
    """
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def may_use_proxy(base_url: str) -> bool:
    """Whether a proxy of the environment may be used: none can reach this machine's loopback."""
    return httpx.URL(base_url).host not in LOOPBACK
