"""Challenge answers from a Ray cluster: `--engine ray` of `python -m model.score`.

Each actor is a `ChallengeAnswerer` that reads tracks itself; items go in and answers come out. The
starting process writes them, so that a progress file has one writer with and without a cluster.
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
from weights.bundle import Bundle, load_bundle
from weights.storage.folders import Place

Waiting = Mapping[str, Mapping[str, Sequence[ChallengeItem]]]
"""Video -> task -> items."""

Keep = Callable[[str, Mapping[str, Any]], None]
"""Stores answers: of a task, id -> answer."""


@dataclass(frozen=True)
class Recipe:
    """Everything that an answer depends on except its item; builds the worker of an actor.

    Attributes:
        bundle: its folder or URL.
        sha256: of the bundle the run was started with.
        features: folder or URL of the tracks.
        answerer: builds the answerer from the bundle.
    """

    bundle: Place
    sha256: str
    features: Place
    answerer: Callable[[Bundle], ChallengeAnswerer]

    def __call__(self) -> Work:
        """Returns the function that answers the items of videos.

        Raises:
            WeightsError: the bundle is not there for this actor.
            ScoringRefused: the actor sees another bundle under that path.
        """
        torch.set_num_threads(1)
        bundle = load_bundle(self.bundle)
        if bundle.sha256 != self.sha256:
            raise ScoringRefused(f"{self.bundle} is another bundle here: {bundle.sha256[:12]}")
        answerer = self.answerer(bundle)
        store = FeatureStore(self.features)

        def answer(units: Mapping[str, Any], tell: ProgressCallback) -> Iterator[tuple[str, Any]]:
            for video, of_video in units.items():
                track = store.read(as_id(video))
                yield (
                    video,
                    {task: answerer.answer(task, items, track) for task, items in of_video.items()},
                )

        return answer


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that answers instead of this process.

    Attributes:
        recipe: builds the worker of each actor.
        wants_gpu: whether an actor needs a GPU.
        address: of the cluster; None starts one of this machine alone.
        actors: number of actors; None takes as many as the cluster has resources for.
    """

    recipe: Recipe
    wants_gpu: bool = False
    address: str | None = None
    actors: int | None = None

    def respond(self, waiting: Waiting, keep: Keep) -> None:
        """Answers all items.

        Raises:
            ClusterFailed: the cluster cannot do the work, or gave up a video; the answers so far
                are kept.
        """
        if not waiting:
            return
        given_up = []
        with ray_session(self.address) as ray:
            room = find_room(ray, cpus=1, wants_gpu=self.wants_gpu, actors=self.actors)
            check_paths(ray, [self.recipe.bundle, self.recipe.features])
            for news in ActorPool(ray, self.recipe, room).run(waiting, is_stopped=lambda: False):
                if isinstance(news, Done):
                    for task, answers in news.result.items():
                        keep(task, answers)
                elif isinstance(news, GivenUp):
                    given_up.append(news.id)
        if given_up:
            raise ClusterFailed(
                f"{len(given_up)} videos are not answered, {given_up[0]} among them: the actor "
                "that had it died, and so did the one that tried it again"
            )
