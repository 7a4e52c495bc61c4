"""Synchronous endpoints: predictions, features, backpack search, models, limits, readiness."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Unpack
from urllib.parse import quote

from clients.api.requests import (
    EVENT_STREAM,
    ApiRequest,
    Choices,
    Clip,
    Features,
    SearchChoices,
    UploadProgress,
    about_clip,
    without_none,
)
from clients.api.session import Deadline, Session, data_of
from clients.errors import Busy, Unreachable, error_of
from clients.results.jobs import Problem
from clients.results.predictions import (
    BackpackMatches,
    Limits,
    ModelFacts,
    Models,
    PredictionResult,
    Progress,
    Taxonomy,
)

READY_POLL_S = 0.1


class ClipCalls(Session):
    """Calls about clips and about the model.

    Arguments of one name mean the same in every call, as `predict` lists them. Every call raises
    a ClientError, as `clients.errors` draws them, and OSError where a file cannot be read.
    """

    async def predict(
        self,
        clip: Clip | None = None,
        *,
        features: Features | None = None,
        progress: UploadProgress | None = None,
        **choices: Unpack[Choices],
    ) -> PredictionResult:
        """Returns the answers about a clip.

        Args:
            clip: a video file, read as it is sent.
            features: in the clip's place, the bytes that `features` returned, or a file of them.
            progress: called with (bytes sent, bytes in all).
            choices: request options, as `clients.api.requests.Choices` lists them.

        Raises:
            Rejected: the clip or an option is at fault.
            NeedsJob: the clip is too long for a synchronous answer; `submit` it.
            Busy: still busy after every retry.
            ServerFault: the server failed.
            Unreachable: no server answered.
            OSError: the file cannot be read.
        """
        request = about_clip("/v1/predictions", clip, features, choices, progress=progress)
        return PredictionResult.from_dict(await self._json(request))

    async def stream(
        self,
        clip: Clip | None = None,
        *,
        features: Features | None = None,
        progress: UploadProgress | None = None,
        **choices: Unpack[Choices],
    ) -> AsyncGenerator[Progress | PredictionResult, None]:
        """Yields the server's progress, then the answers; arguments and errors as `predict`."""
        request = about_clip(
            "/v1/predictions",
            clip,
            features,
            choices,
            progress=progress,
            headers={"Accept": EVENT_STREAM},
        )
        async with aclosing(self._listen(request)) as events:
            async for event in events:
                data = data_of(event)
                if event.name == "progress":
                    yield Progress.from_dict(data)
                elif event.name == "completed":
                    yield PredictionResult.from_dict(data)
                    return
                elif event.name == "error":
                    raise error_of(Problem.from_dict(data).status, data)
        raise Unreachable("the stream broke off before the answer")

    async def features(
        self,
        clip: Clip,
        *,
        progress: UploadProgress | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Returns a clip's features as a safetensors file, to send in its place."""
        choices = {"timeout_s": timeout_s}
        request = about_clip("/v1/features", clip, None, choices, progress=progress)
        return (await self._whole(request)).content

    async def search(
        self,
        clip: Clip | None = None,
        *,
        features: Features | None = None,
        progress: UploadProgress | None = None,
        **choices: Unpack[SearchChoices],
    ) -> BackpackMatches:
        """Returns the prototypes closest to a clip, segment by segment; errors as `predict`.

        The options are those of `clients.api.requests.SearchChoices`.
        """
        request = about_clip("/v1/backpack/search", clip, features, choices, progress=progress)
        return BackpackMatches.from_dict(await self._json(request))

    async def search_action(
        self,
        verb: str,
        noun: str,
        *,
        top_k: int | None = None,
        perspectives: Sequence[str] | None = None,
        backbone: str | None = None,
    ) -> BackpackMatches:
        """Returns the prototypes closest to those of one action, spelled as in `taxonomy`.

        The options are those of `clients.api.requests.SearchChoices`.
        """
        action = {"verb": verb, "noun": noun, "top_k": top_k, "backbone": backbone}
        choices = without_none({**action, "perspectives": perspectives})
        request = ApiRequest("POST", "/v1/backpack/search", json=choices)
        return BackpackMatches.from_dict(await self._json(request))

    async def models(self) -> list[ModelFacts]:
        """Returns the served models."""
        return Models.from_dict(await self._json(ApiRequest("GET", "/v1/models"))).models

    async def model(self, name: str) -> ModelFacts:
        """Returns one served model by its name; raises NotFound if there is none."""
        path = f"/v1/models/{quote(name, safe='')}"
        return ModelFacts.from_dict(await self._json(ApiRequest("GET", path)))

    async def limits(self) -> Limits:
        """Returns the limits in force."""
        return Limits.from_dict(await self._json(ApiRequest("GET", "/v1/limits")))

    async def taxonomy(self) -> dict[str, list[str]]:
        """Returns the names of every label space by id."""
        body = await self._json(ApiRequest("GET", "/v1/taxonomy"))
        return Taxonomy.from_dict(body).label_spaces

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Returns once the server is ready for requests, within `timeout_s`.

        Raises:
            Busy: it responds, but was not ready in time.
            Unreachable: no response in time.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                response = await self._once(
                    ApiRequest("GET", "/readyz"), Deadline(self._policy.total_s)
                )
            except (Busy, Unreachable):
                if time.monotonic() >= until_s:
                    raise
            else:
                await self._transport.close(response)
                return
            await self._transport.sleep(READY_POLL_S)
