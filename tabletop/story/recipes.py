"""The activities people do at the table, as orders of steps with their probabilities."""

import hashlib
import itertools
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from tabletop.story.rules import TOOL_OF, Step

SPLITS = ("train", "val", "test")
_SHARE = {"train": (0, 60), "val": (60, 80), "test": (80, 100)}  # of the orders of each recipe


@dataclass(frozen=True)
class Then:
    """All parts, in this order."""

    parts: tuple["Part", ...]


@dataclass(frozen=True)
class Mixed:
    """All parts, in any order."""

    parts: tuple["Part", ...]


@dataclass(frozen=True)
class Either:
    """One of the parts."""

    parts: tuple["Part", ...]


@dataclass(frozen=True)
class Maybe:
    """The part, or nothing."""

    part: "Part"
    chance: float


Part: TypeAlias = Step | Then | Mixed | Either | Maybe
Order: TypeAlias = tuple[Step, ...]


def _maybe(verb: str, noun: str, chance: float = 0.5) -> Maybe:
    return Maybe((verb, noun), chance)


RECIPES: dict[str, Part] = {
    "salad": Then((
        _maybe("inspect", "carrot", 0.3),
        Mixed((
            Then((_maybe("peel", "carrot", 0.7), ("cut", "carrot"), _maybe("cut", "carrot", 0.6))),
            Then((
                _maybe("peel", "cucumber", 0.7), ("cut", "cucumber"), _maybe("cut", "cucumber"),
            )),
            _maybe("move", "bowl", 0.4),
        )),
        ("stir", "bowl"),
        _maybe("move", "plate", 0.4),
    )),
    "tea": Then((
        Mixed((Then((("open", "jar"), _maybe("stir", "jar", 0.3))), _maybe("inspect", "cup"))),
        ("pour", "jug"),
        Mixed((("stir", "cup"), Then((("close", "jar"), _maybe("shake", "jar", 0.3))))),
        _maybe("touch", "cup", 0.6),
        _maybe("move", "jug", 0.4),
    )),
    "batter": Then((
        Mixed((_maybe("inspect", "egg"), _maybe("shake", "bottle", 0.7))),
        Mixed((("crack", "egg"), Then((("pour", "bottle"), _maybe("close", "bottle", 0.7))))),
        ("stir", "bowl"),
        _maybe("move", "bowl", 0.4),
    )),
    "sandwich": Then((
        _maybe("move", "plate"),
        Mixed((
            Then((_maybe("inspect", "bread", 0.4), ("cut", "bread"), _maybe("cut", "bread", 0.8))),
            Then((_maybe("shake", "jar"), ("open", "jar"), ("close", "jar"))),
        )),
        Either((("touch", "plate"), ("inspect", "plate"))),
    )),
    "juice": Then((
        Mixed((_maybe("shake", "bottle", 0.8), _maybe("move", "cup"))),
        ("pour", "bottle"),
        Mixed((("close", "bottle"), _maybe("stir", "cup"))),
        Either((("touch", "cup"), ("move", "cup"))),
    )),
    "cleaning": Then((
        _maybe("inspect", "plate"),
        Mixed((
            ("wipe", "plate"),
            _maybe("wipe", "bowl", 0.8),
            _maybe("wipe", "book", 0.7),
            _maybe("touch", "book", 0.4),
        )),
        _maybe("move", "plate"),
    )),
    "reading": Then((
        Mixed((_maybe("turn-on", "lamp", 0.9), _maybe("inspect", "book"))),
        ("open", "book"),
        _maybe("touch", "book", 0.7),
        Maybe(Then((("detach", "pen"), _maybe("touch", "book"), ("attach", "pen"))), 0.6),
        Mixed((("close", "book"), _maybe("turn-off", "lamp", 0.7))),
        _maybe("move", "book", 0.4),
    )),
    "letter": Then((
        Mixed((_maybe("unfold", "paper", 0.8), ("detach", "pen"), _maybe("shake", "pen", 0.4))),
        ("touch", "paper"),
        Mixed((("fold", "paper"), Then((("attach", "pen"), _maybe("inspect", "pen", 0.4))))),
        Maybe(Then((("open", "box"), _maybe("touch", "box"), ("close", "box"))), 0.7),
        _maybe("move", "paper", 0.4),
    )),
    "laundry": Then((
        Mixed((("unfold", "cloth"), _maybe("turn-on", "radio", 0.7))),
        Mixed((("shake", "cloth"), _maybe("touch", "cloth"))),
        _maybe("move", "cloth"),
        Mixed((("fold", "cloth"), _maybe("turn-off", "radio", 0.7), _maybe("touch", "radio", 0.3))),
    )),
    "building": Then((
        Mixed((Then((_maybe("shake", "box", 0.6), ("open", "box"))), _maybe("inspect", "brick"))),
        Either((
            Then((("attach", "brick"), ("inspect", "brick"), _maybe("detach", "brick", 0.8))),
            Then((("detach", "brick"), ("touch", "brick"), _maybe("attach", "brick", 0.8))),
        )),
        Mixed((("close", "box"), _maybe("touch", "brick", 0.4), _maybe("move", "box", 0.4))),
    )),
    "listening": Then((
        _maybe("touch", "radio"),
        Mixed((("turn-on", "radio"), _maybe("turn-off", "lamp"))),
        Either((("inspect", "cup"), ("touch", "cup"), ("move", "cup"))),
        Mixed((("turn-off", "radio"), _maybe("turn-on", "lamp"))),
    )),
}  # fmt: skip
KITCHEN = ("salad", "tea", "batter", "sandwich", "juice", "cleaning", "listening")
DESK = ("reading", "letter", "laundry", "building", "listening", "tea", "cleaning")
FAVOUR = {  # else 1.0; evens out the rarer verbs
    "salad": 2.5,
    "batter": 3.0,
    "laundry": 3.0,
    "cleaning": 2.0,
    "letter": 2.0,
    "sandwich": 1.6,
    "building": 1.6,
    "reading": 1.6,
}
FOLLOWS = {  # what tends to come next
    "salad": "sandwich",
    "sandwich": "tea",
    "tea": "cleaning",
    "batter": "cleaning",
    "juice": "cleaning",
    "reading": "letter",
    "letter": "building",
    "laundry": "listening",
    "building": "listening",
    "listening": "reading",
    "cleaning": "juice",
}


def expand(part: Part) -> dict[Order, float]:
    """Returns every order of steps that the part stands for, with its probability."""
    if isinstance(part, Maybe):
        orders = {order: part.chance * p for order, p in expand(part.part).items()}
        orders[()] = orders.get((), 0.0) + 1.0 - part.chance
        return orders
    if isinstance(part, Either):
        sequences: list[tuple[Part, ...]] = [(choice,) for choice in part.parts]
    elif isinstance(part, Mixed):
        sequences = list(itertools.permutations(part.parts))
    elif isinstance(part, Then):
        sequences = [part.parts]
    else:
        return {(part,): 1.0}
    result: dict[Order, float] = {}
    for sequence in sequences:
        for combination in itertools.product(*(expand(p).items() for p in sequence)):
            order = tuple(step for steps, _ in combination for step in steps)
            chance = 1.0 / len(sequences)
            for _, p in combination:
                chance *= p
            result[order] = result.get(order, 0.0) + chance
    return result


@cache
def orders_of(recipe: str, split: str) -> tuple[tuple[Order, ...], tuple[float, ...]]:
    """Returns the recipe's orders that belong to a split, most probable first, and their chances.

    No order belongs to two splits, so a validation order was never seen in training.
    """
    low, high = _SHARE[split]
    mine = {
        order: chance
        for order, chance in expand(RECIPES[recipe]).items()
        if low <= hashlib.sha256(repr((recipe, order)).encode()).digest()[0] * 100 // 256 < high
    }
    orders = sorted(mine, key=lambda order: (-mine[order], order))
    total = sum(mine.values())
    return tuple(orders), tuple(mine[order] / total for order in orders)


@cache
def nouns_of(recipe: str) -> frozenset[str]:
    """Returns everything the recipe needs on the table, tools included."""
    steps = {step for order in expand(RECIPES[recipe]) for step in order}
    nouns = {noun for _, noun in steps} | {TOOL_OF[verb] for verb, _ in steps if verb in TOOL_OF}
    if any(verb == "pour" for verb, _ in steps) and not nouns & {"cup", "bowl"}:
        nouns.add("cup")
    return frozenset(nouns)
