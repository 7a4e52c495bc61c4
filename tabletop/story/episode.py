"""What happens, without times: recipes acted out on one table, with every choice counted."""

from dataclasses import dataclass

import numpy as np

from tabletop.story.recipes import FOLLOWS, Order, orders_of
from tabletop.story.rules import ALLOWED, IDLE_VERBS, Step, Table

_FIDGET_CHANCE = 0.1  # of doing something for no reason before a step
_TIDY_CHANCE = 0.12  # of clearing the place in front after a recipe


class Choices:
    """Seeded choices that affect which actions happen; counts their entropy and can replay them.

    Attributes:
        taken: outcomes so far.
        bits: sum of the entropies of the distributions drawn from so far.
    """

    def __init__(self, rng: np.random.Generator, forced: tuple[int, ...] = ()) -> None:
        self._rng = rng
        self._forced = forced
        self.taken: list[int] = []
        self.bits = 0.0

    def choose(self, weights: tuple[float, ...]) -> int:
        """Returns an index with probability proportional to its weight."""
        p = np.asarray(weights, dtype=np.float64)
        p = p / p.sum()
        self.bits -= float((p[p > 0] * np.log2(p[p > 0])).sum())
        drawn = len(self.taken)
        outcome = self._forced[drawn] if drawn < len(self._forced) else self._draw(p)
        self.taken.append(outcome)
        return outcome

    def _draw(self, p: np.ndarray) -> int:
        return min(int(np.searchsorted(np.cumsum(p), self._rng.random())), len(p) - 1)

    def happens(self, chance: float) -> bool:
        """Returns True with this probability."""
        return self.choose((1.0 - chance, chance)) == 1


class Simulator:
    """Acts recipes out on one table until enough has been done.

    Attributes:
        steps: (verb, noun) in order.
        marks: how many choices had been taken when each step was done.
        recipes: what each step was done for.
    """

    def __init__(
        self, split: str, repertoire: tuple[str, ...], table: Table, choices: Choices
    ) -> None:
        self._split = split
        self._repertoire = repertoire
        self._table = table
        self._choices = choices
        self._done: set[str] = set()
        self.steps: list[Step] = []
        self.marks: list[int] = []
        self.recipes: list[str] = []

    def run(self, num_actions: int) -> None:
        """Acts until `num_actions` have been done."""
        last: str | None = None
        while len(self.steps) < num_actions:
            last = self._next_recipe(last)
            self._done.add(last)
            orders, chances = orders_of(last, self._split)
            self._follow(orders[self._choices.choose(chances)])
            self.recipes += [last] * (len(self.steps) - len(self.recipes))
        del self.steps[num_actions:], self.marks[num_actions:], self.recipes[num_actions:]

    def _next_recipe(self, last: str | None) -> str:
        def weight(name: str) -> float:
            goals: Order = orders_of(name, self._split)[0][0]
            doable = sum(self._table.allows(*goal) for goal in goals)
            likes = 5.0 if last is not None and FOLLOWS[last] == name else 1.0
            fresh = 0.25 if name in self._done else 1.0
            return 1e-3 if name == last else fresh * likes * (doable / len(goals)) ** 2 + 1e-3

        return self._repertoire[self._choices.choose(tuple(weight(n) for n in self._repertoire))]

    def _follow(self, order: Order) -> None:
        for verb, noun in order:
            if self._choices.happens(_FIDGET_CHANCE):
                self._fidget()
            if self._table.allows(verb, noun):
                self._do(verb, noun)
        if self._table.held and self._choices.happens(0.6):
            self._do("put", self._table.held)
        if self._choices.happens(_TIDY_CHANCE):
            for noun in list(self._table.near):
                self._do("put", noun)

    def _fidget(self) -> None:
        options = [
            (verb, noun)
            for verb in IDLE_VERBS
            for noun in ALLOWED[verb]
            if self._table.allows(verb, noun)
        ]
        self._do(*options[self._choices.choose((1.0,) * len(options))])

    def _do(self, verb: str, noun: str) -> None:
        while (first := self._table.missing(verb, noun)) is not None:
            self._do(*first)
        self._table.apply(verb, noun)
        self.steps.append((verb, noun))
        self.marks.append(len(self._choices.taken))


@dataclass(frozen=True)
class Episode:
    """What happens in one video, without times, and how predictable it was.

    Attributes:
        steps: (verb, noun) in order.
        marks: how many choices had been taken when each step was done.
        recipes: what each step was done for.
        outcomes: of all choices, for replay.
        bits_per_action: entropy of the choices, spread over the steps.
    """

    split: str
    repertoire: tuple[str, ...]
    initial: Table
    steps: tuple[Step, ...]
    marks: tuple[int, ...]
    recipes: tuple[str, ...]
    outcomes: tuple[int, ...]
    bits_per_action: float

    def retold(self, num_known: int, rng: np.random.Generator) -> tuple[Step, ...]:
        """Returns another sample of the story after the first steps."""
        choices = Choices(rng, self.outcomes[: self.marks[num_known - 1]])
        play = Simulator(self.split, self.repertoire, self.initial.copy(), choices)
        play.run(len(self.steps))
        return tuple(play.steps)
