"""Backpack search: the prototypes nearest to a clip or to an action, in each perspective.

The retrieval step of the skills (paper Sec. 3.3) as an answer of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from model.errors import SearchInvalid
from model.nn.backpack import Backpack
from model.nn.pooling import select_nodes
from model.nn.skill_set import SkillSet
from model.predict.answers import name_prototypes
from model.predict.outputs import Neighbour
from model.predict.transfer import to_host
from model.tasks import AR


@dataclass(frozen=True)
class SearchQuery:
    """Parameters of a search.

    Attributes:
        perspectives: tasks whose prototypes to search; None takes all in the backpack.
        backbone: of the backpack; None takes the first that has one.
        top_k: prototypes in each list.
    """

    perspectives: tuple[str, ...] | None = None
    backbone: str | None = None
    top_k: int = 5


@dataclass(frozen=True)
class PrototypeMatches:
    """Nearest prototypes of each query.

    Attributes:
        backbone: of the backpack searched.
        nearest: per query, perspective -> prototypes, closest first.
    """

    backbone: str
    nearest: list[dict[str, list[Neighbour]]]


class BackpackSearch:
    """Searches the backpacks of one bundle."""

    def __init__(self, skills: SkillSet, labels: Mapping[str, Sequence[str]]) -> None:
        """Takes the backpacks of a skill set.

        Args:
            skills: with the backbones and their backpacks.
            labels: label space -> names by id.
        """
        self._skills = skills
        self._labels = labels

    def of_segments(self, nodes: Tensor, query: SearchQuery) -> PrototypeMatches:
        """Returns the prototypes nearest to segments, encoded like the backpack's actions.

        Args:
            nodes: (G, num_segments, S, D_in), observed nodes of AR's graphs, one per segment.
            query: parameters of the search.

        Raises:
            SearchInvalid: there is no such backpack or perspective.
        """
        name, backpack = self._choose(query)
        model = self._skills.models[name]
        features = model.features({AR.name: nodes}, specs={AR.name: AR})[AR.name]
        centre = select_nodes(AR, features)[:, 0]  # (G, D)
        views = {task: model.heads[task](centre) for task in _perspectives(backpack, query)}
        return PrototypeMatches(name, self._nearest(backpack, views, query.top_k))

    def of_action(self, verb: str, noun: str, query: SearchQuery) -> PrototypeMatches:
        """Returns the prototypes nearest to those of one action, the action itself first.

        Raises:
            SearchInvalid: no prototype has this verb and noun, its rows have other labels, or there
                is no such backpack or perspective.
        """
        name, backpack = self._choose(query)
        if backpack.labels.keys() != set(AR.outputs):
            there = " and ".join(backpack.labels)
            raise SearchInvalid(
                "verb", f"the rows of this backpack are of {there}: search it with a clip"
            )
        is_row = (backpack.labels["verb"] == self._label("verb", verb)) & (
            backpack.labels["noun"] == self._label("noun", noun)
        )
        if not is_row.any():
            raise SearchInvalid("noun", f"the backpack holds no prototype of {verb!r} {noun!r}")
        row = int(is_row.nonzero()[0])
        prototypes = backpack.prototypes
        views = {t: prototypes[t][row : row + 1] for t in _perspectives(backpack, query)}
        return PrototypeMatches(name, self._nearest(backpack, views, query.top_k))

    def _choose(self, query: SearchQuery) -> tuple[str, Backpack]:
        filled = {name: b for name, b in self._skills.backpacks.items() if b is not None}
        if not filled:
            raise SearchInvalid("backbone", "this bundle has no backpack")
        name = next(iter(filled)) if query.backbone is None else query.backbone
        if name not in filled:
            raise SearchInvalid("backbone", f"expected one of {', '.join(filled)}")
        return name, filled[name]

    def _label(self, space: str, name: str) -> int:
        names = list(self._labels[space])
        if name not in names:
            raise SearchInvalid(space, f"{name!r} is no {space} of this bundle")
        return names.index(name)

    def _nearest(
        self, backpack: Backpack, views: Mapping[str, Tensor], top_k: int
    ) -> list[dict[str, list[Neighbour]]]:
        """One dictionary per query, from perspective -> (Q, D)."""
        queries = len(next(iter(views.values())))
        nearest: list[dict[str, list[Neighbour]]] = [{} for _ in range(queries)]
        searched = [backpack.index(task).search(view, top_k) for task, view in views.items()]
        on_host = to_host([part for pair in searched for part in pair])
        for task, rows, similarity in zip(views, on_host[::2], on_host[1::2], strict=True):
            for found, mine, close in zip(nearest, rows.tolist(), similarity.tolist(), strict=True):
                found[task] = name_prototypes(
                    backpack, self._labels, list(zip(mine, close, strict=True))
                )
        return nearest


def _perspectives(backpack: Backpack, query: SearchQuery) -> tuple[str, ...]:
    known = tuple(backpack.prototypes)
    for index, task in enumerate(query.perspectives or ()):
        if task not in known:
            raise SearchInvalid(f"perspectives/{index}", f"expected one of {', '.join(known)}")
    return query.perspectives or known
