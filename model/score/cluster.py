"""The engine `ray` of `python -m model.score`: the questions about a video, answered by an actor.

Each actor is a `ChallengeAnswerer` that reads tracks itself; questions go in and answers come out.
Whoever started the run keeps them, so the part files have one writer, as they have without a
cluster.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from extract.cluster.actors import ActorPool, Done, GivenUp, ProgressCallback, Work
from extract.cluster.session import check_paths, find_room, ray_session
from extract.errors import ClusterFailed
from extract.features.ids import as_id
from extract.features.store import FeatureStore
from model.errors import ScoringRefused
from model.score.answering import ChallengeAnswerer
from model.score.test_set import ChallengeItem
from weights.bundle import load_bundle
from weights.storage.folders import Place

Waiting = Mapping[str, Mapping[str, Sequence[ChallengeItem]]]
"""Video -> task -> questions."""

Keep = Callable[[str, Mapping[str, Any]], None]
"""Takes a task and its answers about a video, id -> answer."""


@dataclass(frozen=True)
class Recipe:
    """All that an answer depends on but its question; makes what answers in an actor.

    Attributes:
        bundle: its folder or URL.
        sha256: of the bundle the run was started with.
        features: folder or URL of the tracks.
        seed: of LTA's sampled futures.
        future_temperature: they are drawn at; the bundle's if None.
        batch_size: graphs at once.
        device: "cpu" or "cuda".
    """

    bundle: Place
    sha256: str
    features: Place
    seed: int
    future_temperature: float | None
    batch_size: int
    device: str

    def __call__(self) -> Work:
        """Returns what answers the questions about videos.

        Raises:
            WeightsError: there is no such bundle here.
            ScoringRefused: it is another one here.
        """
        torch.set_num_threads(1)
        bundle = load_bundle(self.bundle)
        if bundle.sha256 != self.sha256:
            raise ScoringRefused(f"{self.bundle} is another bundle here: {bundle.sha256[:12]}")
        responder = ChallengeAnswerer(
            bundle,
            seed=self.seed,
            future_temperature=self.future_temperature,
            batch_size=self.batch_size,
            device=self.device,
        )
        store = FeatureStore(self.features)

        def answer(units: Mapping[str, Any], tell: ProgressCallback) -> Iterator[tuple[str, Any]]:
            for video, of_video in units.items():
                track = store.read(as_id(video))
                yield video, {t: responder.answer(t, q, track) for t, q in of_video.items()}

        return answer


@dataclass(frozen=True)
class Cluster:
    """Who answers instead of this process.

    Attributes:
        recipe: how.
        address: of the cluster; None starts one of this machine alone.
        actors: at once; as many as there is room for if None.
    """

    recipe: Recipe
    address: str | None = None
    actors: int | None = None

    def respond(self, waiting: Waiting, keep: Keep) -> None:
        """Has everything answered.

        Raises:
            ClusterFailed: the cluster cannot do the work, or a video was given up; what was
                answered has been kept.
        """
        if not waiting:
            return
        given_up = []
        wants_gpu = self.recipe.device != "cpu"
        with ray_session(self.address) as ray:
            room = find_room(ray, cpus=1, wants_gpu=wants_gpu, actors=self.actors)
            check_paths(ray, [self.recipe.bundle, self.recipe.features])
            for news in ActorPool(ray, self.recipe, room).run(waiting, is_stopped=lambda: False):
                if isinstance(news, Done):
                    for task, answers in news.result.items():
                        keep(task, answers)
                elif isinstance(news, GivenUp):
                    given_up.append(news.id)
        if given_up:
            raise ClusterFailed(
                f"{len(given_up)} videos are not answered, {given_up[0]} among them: the process "
                "that was at it died, and so did the one that tried it again"
            )
