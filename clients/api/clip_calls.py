"""Questions about clips and about the model, each answered in one exchange."""

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
    """What can be asked while one waits for the answer.

    Every call raises a ClientError, as `clients.errors` draws them, and OSError where a file
    cannot be read.
    """

    async def predict(
        self,
        clip: Clip | None = None,
        *,
        features: Features | None = None,
        progress: UploadProgress | None = None,
        **choices: Unpack[Choices],
    ) -> PredictionResult:
        """Returns the answers about a clip; it is read from disk as it is sent.

        Args:
            clip: a file.
            features: in the clip's place, what `features` gave.
            progress: hears how many bytes of how many are sent.
            choices: what to ask, as `clients.api.requests.Choices` lists it.

        Raises:
            Rejected: the clip or a choice is at fault.
            NeedsJob: the clip is too long to wait for; `submit` it.
            Busy: still busy after every retry.
            ServerFault: the server failed.
            Unreachable: no server answered.
            OSError: the file cannot be read.
        """
        outgoing = about_clip("/v1/predictions", clip, features, choices, progress=progress)
        return PredictionResult.from_dict(await self._json(outgoing))

    async def stream(
        self,
        clip: Clip | None = None,
        *,
        features: Features | None = None,
        progress: UploadProgress | None = None,
        **choices: Unpack[Choices],
    ) -> AsyncGenerator[Progress | PredictionResult, None]:
        """Yields how far the server has come, then the answers.

        Args:
            clip: a file.
            features: in the clip's place, what `features` gave.
            progress: hears how many bytes of how many are sent.
            choices: what to ask, as `clients.api.requests.Choices` lists it.

        Raises:
            ClientError, OSError: as `predict` does.
        """
        outgoing = about_clip(
            "/v1/predictions",
            clip,
            features,
            choices,
            progress=progress,
            headers={"Accept": EVENT_STREAM},
        )
        async with aclosing(self._listen(outgoing, self._deadline())) as events:
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
        """Returns a clip's features as a safetensors file, to keep or to ask with.

        Args:
            clip: a file.
            progress: hears how many bytes of how many are sent.
            timeout_s: when the server should give up.

        Raises:
            ClientError, OSError: as `predict` does.
        """
        choices = {"timeout_s": timeout_s}
        outgoing = about_clip("/v1/features", clip, None, choices, progress=progress)
        return (await self._ask(outgoing)).content

    async def search(
        self,
        clip: Clip | None = None,
        *,
        features: Features | None = None,
        progress: UploadProgress | None = None,
        **choices: Unpack[SearchChoices],
    ) -> BackpackMatches:
        """Returns the prototypes closest to a clip, segment by segment.

        Args:
            clip: a file.
            features: in the clip's place, what `features` gave.
            progress: hears how many bytes of how many are sent.
            choices: where to look, as `clients.api.requests.SearchChoices` lists it.

        Raises:
            ClientError, OSError: as `predict` does.
        """
        outgoing = about_clip("/v1/backpack/search", clip, features, choices, progress=progress)
        return BackpackMatches.from_dict(await self._json(outgoing))

    async def search_action(
        self,
        verb: str,
        noun: str,
        *,
        top_k: int | None = None,
        perspectives: Sequence[str] | None = None,
        backbone: str | None = None,
    ) -> BackpackMatches:
        """Returns the prototypes closest to those of one action.

        Args:
            verb: its verb, as `taxonomy` spells it.
            noun: its noun.
            top_k: prototypes in each list.
            perspectives: tasks whose prototypes to search; default: all.
            backbone: whose backpack; default: the first that has one.

        Raises:
            ClientError: as `predict` does.
        """
        action = {"verb": verb, "noun": noun, "top_k": top_k, "backbone": backbone}
        choices = without_none({**action, "perspectives": perspectives})
        outgoing = ApiRequest("POST", "/v1/backpack/search", json=choices)
        return BackpackMatches.from_dict(await self._json(outgoing))

    async def models(self) -> list[ModelFacts]:
        """Returns what is being served."""
        return Models.from_dict(await self._json(ApiRequest("GET", "/v1/models"))).models

    async def model(self, name: str) -> ModelFacts:
        """Returns what one served model says of itself.

        Args:
            name: as `models` spells it.

        Raises:
            NotFound: it is not being served.
        """
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
        """Returns once the server would answer a clip.

        Args:
            timeout_s: longest time to wait for that.

        Raises:
            Busy: it answers, but was not ready in time.
            Unreachable: nothing answered in time.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                response = await self._once(ApiRequest("GET", "/readyz"), self._deadline())
            except (Busy, Unreachable):
                if time.monotonic() >= until_s:
                    raise
            else:
                await self._port.close(response)
                return
            await self._port.sleep(READY_POLL_S)

    def _deadline(self) -> Deadline:
        return Deadline(self._patience.total_s)
