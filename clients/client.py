"""EgoPackClient: a clip on disk -> answers, over HTTP."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from clients.errors import Busy, ClientError, Rejected, ServerFault, Unreachable
from clients.results import BackpackMatches, Limits, ModelFacts, PredictionResult

MAX_WAIT_S = 60.0
"""Longest single wait a server may ask for; one that asks for more is busy."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class EgoPackClient:
    """Calls one server; use it as a context manager, or close it.

    Args:
        base_url: such as "http://127.0.0.1:8080".
        api_key: sent as a bearer token.
        timeout_s: longest silence to put up with.
        max_retries: how often to come back when the server says it is busy.
        transport: replaces the network, for tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        max_retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(
            base_url=base_url,
            headers=headers,
            timeout=timeout_s,
            transport=transport,
            # A proxy from the environment cannot reach this machine's own loopback.
            trust_env=httpx.URL(base_url).host not in LOOPBACK,
        )
        self._max_retries = max_retries

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

    def predict(
        self,
        path: Path | str,
        *,
        tasks: Sequence[str] | None = None,
        segments: Sequence[tuple[float, float]] | None = None,
        segment_s: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        parts: Sequence[str] | None = None,
        timeout_s: float | None = None,
    ) -> PredictionResult:
        """Returns the answers about a clip; it is read from disk as it is sent.

        Args:
            path: the clip.
            tasks: what to answer; default: everything.
            segments: (start_s, end_s) pairs; default: the clip cut evenly.
            segment_s: length of those even cuts.
            top_k: labels in each ranked list.
            seed: of the sampled futures.
            parts: optional parts wanted of "evidence" and "scores"; default: both.
            timeout_s: when the server should give up.

        Raises:
            Rejected: the clip or a choice is at fault.
            Busy: still busy after every retry.
            ServerFault: the server failed.
            Unreachable: no server answered.
            OSError: the clip cannot be read.
        """
        choices = {
            "tasks": None if tasks is None else list(tasks),
            "segments": None if segments is None else [list(pair) for pair in segments],
            "segment_s": segment_s,
            "top_k": top_k,
            "seed": seed,
            "return": None if parts is None else list(parts),
            "timeout_s": timeout_s,
        }
        return PredictionResult.from_dict(_json(self._post("/v1/predictions", path, choices)))

    def features(self, path: Path | str, *, timeout_s: float | None = None) -> bytes:
        """Returns a clip's features as a safetensors file.

        Args:
            path: the clip.
            timeout_s: when the server should give up.

        Raises:
            ClientError, OSError: as `predict` does.
        """
        response = self._post("/v1/features", path, {"timeout_s": timeout_s})
        if not response.is_success:
            _json(response)
        return response.content

    def search(
        self,
        path: Path | str,
        *,
        perspectives: Sequence[str] | None = None,
        segments: Sequence[tuple[float, float]] | None = None,
        segment_s: float | None = None,
        top_k: int | None = None,
    ) -> BackpackMatches:
        """Returns the prototypes closest to a clip, segment by segment.

        Args:
            path: the clip.
            perspectives: tasks whose prototypes to search; default: all.
            segments: (start_s, end_s) pairs; default: the clip cut evenly.
            segment_s: length of those even cuts.
            top_k: prototypes in each list.

        Raises:
            ClientError, OSError: as `predict` does.
        """
        choices = {
            "perspectives": None if perspectives is None else list(perspectives),
            "segments": None if segments is None else [list(pair) for pair in segments],
            "segment_s": segment_s,
            "top_k": top_k,
        }
        return BackpackMatches.from_dict(_json(self._post("/v1/backpack/search", path, choices)))

    def search_action(self, verb: str, noun: str, *, top_k: int | None = None) -> BackpackMatches:
        """Returns the prototypes closest to those of one action.

        Args:
            verb: its verb, as `taxonomy` spells it.
            noun: its noun.
            top_k: prototypes in each list.

        Raises:
            ClientError: as `predict` does.
        """
        choices = _given({"verb": verb, "noun": noun, "top_k": top_k})
        return BackpackMatches.from_dict(
            _json(self._send("POST", "/v1/backpack/search", json=choices))
        )

    def models(self) -> list[ModelFacts]:
        """Returns what is being served."""
        body = _json(self._send("GET", "/v1/models"))
        return [ModelFacts.from_dict(values) for values in body.get("models", [])]

    def limits(self) -> Limits:
        """Returns the limits in force."""
        return Limits.from_dict(_json(self._send("GET", "/v1/limits")))

    def taxonomy(self) -> dict[str, list[str]]:
        """Returns the names of every label space by id."""
        spaces: dict[str, list[str]] = _json(self._send("GET", "/v1/taxonomy"))["label_spaces"]
        return spaces

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Returns once the server would answer a clip.

        Raises:
            Busy: it answers, but was not ready in time.
            Unreachable: nothing answered in time.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                _json(self._send("GET", "/readyz"))
                return
            except (Busy, Unreachable):
                if time.monotonic() >= until_s:
                    raise
            time.sleep(0.1)

    def _post(self, endpoint: str, path: Path | str, choices: dict[str, Any]) -> httpx.Response:
        """Sends a clip and what was chosen, again while the server is busy."""
        part = json.dumps(_given(choices))
        for attempt in range(self._max_retries + 1):
            with Path(path).open("rb") as clip:
                # The file's name stays here: it is nobody else's business.
                files = {
                    "request": (None, part, "application/json"),
                    "video": ("clip", clip, "application/octet-stream"),
                }
                response = self._send("POST", endpoint, files=files)
            wait_s = _retry_after_s(response)
            if wait_s is None or attempt == self._max_retries:
                break
            time.sleep(wait_s)
        return response

    def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **body)
        except httpx.TimeoutException as error:
            raise Unreachable(f"no answer from {self._http.base_url} in time") from error
        except httpx.HTTPError as error:
            raise Unreachable(f"cannot reach {self._http.base_url}: {error}") from error


def _given(choices: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choices.items() if value is not None}


def _retry_after_s(response: httpx.Response) -> float | None:
    """Returns how long to wait before trying again, or None when that would be pointless."""
    if response.status_code not in (429, 503):
        return None
    text = response.headers.get("retry-after", "1")
    wait_s = float(text) if text.isdecimal() else 1.0
    return wait_s if wait_s <= MAX_WAIT_S else None


def _json(response: httpx.Response) -> dict[str, Any]:
    """Returns the body of a success, or raises what the problem means."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.is_success:
        if not isinstance(body, dict):
            raise ServerFault("the answer is not a JSON object", status=response.status_code)
        return body
    raise _error(response.status_code, body if isinstance(body, dict) else {})


def _error(status: int, problem: dict[str, Any]) -> ClientError:
    kind: type[ClientError] = ServerFault
    if status in (429, 503):
        kind = Busy
    elif 400 <= status < 500:
        kind = Rejected
    errors = tuple(
        (str(one.get("pointer", "")), str(one.get("detail", "")))
        for one in problem.get("errors", [])
        if isinstance(one, dict)
    )
    detail = problem.get("detail") or problem.get("title") or f"HTTP status {status}"
    return kind(
        str(detail),
        status=status,
        code=str(problem.get("code", "")),
        request_id=str(problem.get("request_id", "")),
        errors=errors,
    )
