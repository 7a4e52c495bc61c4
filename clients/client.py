"""EgoPackClient and AsyncEgoPackClient: the HTTP client, blocking and for asyncio."""

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import httpx

from clients.api.background import iterate_in_background
from clients.api.clip_calls import ClipCalls
from clients.api.live import LiveChoices, LivePlace, live_messages
from clients.api.outgoing import Frames
from clients.api.session import RetryPolicy
from clients.api.skill_calls import SkillCalls
from clients.api.transport import AsyncTransport, BlockingTransport, iterate_sync, run_sync
from clients.results.live import LiveMessage

P = ParamSpec("P")
T = TypeVar("T")

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Calls(ClipCalls, SkillCalls):
    """Every API call, as a coroutine, behind whichever transport it is given."""


def may_use_proxy(base_url: str) -> bool:
    """Whether a proxy of the environment may be used: none can reach this machine's loopback."""
    return httpx.URL(base_url).host not in LOOPBACK


def _connection(base_url: str, api_key: str | None) -> dict[str, Any]:
    """Arguments that both clients of httpx take."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return {"base_url": base_url, "headers": headers, "trust_env": may_use_proxy(base_url)}


def _returns(
    call: Callable[Concatenate[Calls, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["EgoPackClient", P], T]:
    """Makes a coroutine of `Calls` a blocking method."""

    def blocking(self: "EgoPackClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_sync(call(self._calls, *args, **kwargs))

    functools.update_wrapper(blocking, call)
    return blocking


def _yields(
    call: Callable[Concatenate[Calls, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["EgoPackClient", P], Iterator[T]]:
    """Makes an asynchronous generator of `Calls` a method that returns an iterator."""

    def blocking(self: "EgoPackClient", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return iterate_sync(call(self._calls, *args, **kwargs))

    functools.update_wrapper(blocking, call)
    return blocking


class EgoPackClient:
    """Calls one server; use it as a context manager, or close it.

    `clients.api.clip_calls`, `clients.api.job_calls` and `clients.api.skill_calls` say what each
    call takes and gives.
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

    keep_clip = _returns(Calls.keep_clip)
    keep_clips = _returns(Calls.keep_clips)
    clips = _returns(Calls.clips)
    delete_clip = _returns(Calls.delete_clip)
    teach = _returns(Calls.teach)
    submit_teaching = _returns(Calls.submit_teaching)
    report_of_job = _returns(Calls.report_of_job)
    skills = _returns(Calls.skills)
    skill = _returns(Calls.skill)
    report = _returns(Calls.report)
    activate = _returns(Calls.activate)
    deactivate = _returns(Calls.deactivate)
    rollback = _returns(Calls.rollback)
    delete_skill = _returns(Calls.delete_skill)
    compare = _returns(Calls.compare)
    suggest = _returns(Calls.suggest)

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
        """Opens no connection yet.

        Args:
            base_url: such as "http://127.0.0.1:8080".
            api_key: sent as a bearer token.
            timeout_s: read and write timeout: longest time without a byte.
            connect_s: connect timeout.
            total_s: longest time for a whole call, with its retries; default: no limit.
            max_retries: retries when the server is busy or the connection breaks.
            transport: of httpx; replaces the network in tests.
        """
        self._http = httpx.Client(transport=transport, **_connection(base_url, api_key))
        policy = RetryPolicy(connect_s, timeout_s, total_s, max_retries)
        self._calls = Calls(BlockingTransport(self._http), policy)
        self._live = LivePlace(base_url, api_key, connect_s, may_use_proxy(base_url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def live(self, frames: Frames, **choices: Unpack[LiveChoices]) -> Iterator[LiveMessage]:
        """Yields answers about a stream while it goes on, and a summary at its end.

        Frames are sent by a thread, however long the caller takes with an answer. Leaving the loop
        ends the stream.

        Args:
            frames: (time in seconds, JPEG or PNG or WebP) pairs, or pieces of one container:
                fragmented MP4, WebM, Matroska or an MPEG transport stream.
            choices: options, as `clients.api.live.LiveChoices` lists them.

        Raises:
            ClientError: as `clients.api.live.live_messages` does.
            ValueError: there is no frame.
        """
        return iterate_in_background(lambda: live_messages(self._live, frames, choices))

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()


class AsyncEgoPackClient(Calls):
    """Calls one server from an event loop; use it as an asynchronous context manager, or close it.

    Its calls are those of `EgoPackClient` as coroutines; `stream`, `jobs` and `job_events` are
    asynchronous generators.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        connect_s: float = 10.0,
        total_s: float | None = None,
        max_retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Opens no connection yet; the arguments are those of `EgoPackClient`."""
        self._http = httpx.AsyncClient(transport=transport, **_connection(base_url, api_key))
        policy = RetryPolicy(connect_s, timeout_s, total_s, max_retries)
        super().__init__(AsyncTransport(self._http), policy)
        self._live = LivePlace(base_url, api_key, connect_s, may_use_proxy(base_url))

    def live(
        self, frames: Frames, **choices: Unpack[LiveChoices]
    ) -> AsyncGenerator[LiveMessage, None]:
        """Yields what `EgoPackClient.live` does; frames may be an asynchronous iterable."""
        return live_messages(self._live, frames, choices)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
