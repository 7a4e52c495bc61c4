"""EgoPackClient: a clip on disk -> answers, over HTTP."""

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from clients.api.session import RetryPolicy
from clients.api.transport import BlockingPort, iterate_sync, run_sync
from clients.calls import Calls, headers_of, may_use_proxy

P = ParamSpec("P")
T = TypeVar("T")


def _returns(
    call: Callable[Concatenate[Calls, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["EgoPackClient", P], T]:
    """A call that returns once it is answered."""

    def blocking(self: "EgoPackClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_sync(call(self._calls, *args, **kwargs))

    functools.update_wrapper(blocking, call)
    return blocking


def _yields(
    call: Callable[Concatenate[Calls, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["EgoPackClient", P], Iterator[T]]:
    """A call to go through with `for`."""

    def blocking(self: "EgoPackClient", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return iterate_sync(call(self._calls, *args, **kwargs))

    functools.update_wrapper(blocking, call)
    return blocking


class EgoPackClient:
    """Calls one server; use it as a context manager, or close it.

    `clients.api.clip_calls` and `clients.api.job_calls` say what each call takes and gives.
    """

    predict = _returns(Calls.predict)
    stream = _yields(Calls.stream)
    features = _returns(Calls.features)
    search = _returns(Calls.search)
    search_action = _returns(Calls.search_action)
    models = _returns(Calls.models)
    model = _returns(Calls.model)
    limits = _returns(Calls.limits)
    taxonomy = _returns(Calls.taxonomy)
    wait_ready = _returns(Calls.wait_ready)

    submit = _returns(Calls.submit)
    job = _returns(Calls.job)
    job_page = _returns(Calls.job_page)
    jobs = _yields(Calls.jobs)
    job_events = _yields(Calls.job_events)
    wait = _returns(Calls.wait)
    result = _returns(Calls.result)
    cancel = _returns(Calls.cancel)

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        connect_s: float = 10.0,
        total_s: float | None = None,
        max_retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            base_url: such as "http://127.0.0.1:8080".
            api_key: sent as a bearer token.
            timeout_s: longest silence to put up with.
            connect_s: longest time until a connection stands.
            total_s: longest time for a whole call, with its retries; default: no limit.
            max_retries: how often to come back when the server is busy or the connection breaks.
            transport: replaces the network, for tests.
        """
        self._http = httpx.Client(
            base_url=base_url,
            headers=headers_of(api_key),
            transport=transport,
            trust_env=may_use_proxy(base_url),
        )
        patience = RetryPolicy(connect_s, timeout_s, total_s, max_retries)
        self._calls = Calls(BlockingPort(self._http), patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()
