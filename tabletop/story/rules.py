"""What can be done to which thing and what it changes: the symbolic half of the world.

`Table` is the state, without time or space; `missing` returns the precondition of a step.
"""

import copy
from dataclasses import dataclass, field

Step = tuple[str, str]  # (verb, noun)

NOUNS = (
    "book", "bottle", "bowl", "box", "bread", "brick", "carrot", "cloth", "cucumber", "cup", "egg",
    "jar", "jug", "knife", "lamp", "paper", "pen", "plate", "radio", "sponge", "spoon",
)  # fmt: skip
TOOLS = ("knife", "spoon", "sponge")  # stay in the hand between take and put
FIXED = ("lamp", "radio")  # never carried
NEAR_CAPACITY = 4  # things that fit in front of the person
FULL = 2  # pourings a container takes, cuts a vegetable takes

# verb -> (flag, value before, value after) of the noun itself
CHANGES: dict[str, tuple[str, int, int]] = {
    "open": ("open", 0, 1),
    "close": ("open", 1, 0),
    "detach": ("apart", 0, 1),
    "attach": ("apart", 1, 0),
    "fold": ("folded", 0, 1),
    "unfold": ("folded", 1, 0),
    "turn-on": ("on", 0, 1),
    "turn-off": ("on", 1, 0),
    "peel": ("peeled", 0, 1),
    "crack": ("cracked", 0, 1),
    "wipe": ("stain", 1, 0),
}
CHANGING = frozenset(CHANGES) | {"cut", "pour"}
INVERSE = {
    "close": "open",
    "attach": "detach",
    "unfold": "fold",
    "turn-off": "turn-on",
    "put": "take",
}  # the first is the second run backwards

_CARRIED = tuple(noun for noun in NOUNS if noun not in FIXED)
_INSPECTED = ("book", "bottle", "box", "bread", "brick", "carrot", "cucumber", "cup", "egg", "jar",
              "jug", "paper", "pen", "plate")  # fmt: skip
ALLOWED: dict[str, tuple[str, ...]] = {
    "attach": ("brick", "pen"),
    "close": ("book", "bottle", "box", "jar"),
    "crack": ("egg",),
    "cut": ("bread", "carrot", "cucumber"),
    "detach": ("brick", "pen"),
    "fold": ("cloth", "paper"),
    "inspect": _INSPECTED,
    "move": ("book", "bowl", "box", "cloth", "cup", "jar", "jug", "paper", "plate"),
    "open": ("book", "bottle", "box", "jar"),
    "peel": ("carrot", "cucumber"),
    "pour": ("bottle", "jar", "jug"),
    "put": _CARRIED,
    "shake": ("bottle", "box", "cloth", "jar", "pen"),
    "stir": ("bowl", "cup", "jar"),
    "take": _CARRIED,
    "touch": ("book", "box", "brick", "cloth", "cup", "egg", "paper", "plate", "radio"),
    "turn-off": ("lamp", "radio"),
    "turn-on": ("lamp", "radio"),
    "unfold": ("cloth", "paper"),
    "wipe": ("book", "bowl", "plate"),
}
VERBS = tuple(sorted(ALLOWED))
TOOL_OF = {"cut": "knife", "peel": "knife", "stir": "spoon", "wipe": "sponge"}
IDLE_VERBS = ("inspect", "move", "shake", "touch")  # done for no reason now and then

_TWO_HANDED = frozenset(("open", "close", "attach", "detach", "fold", "unfold", "crack"))
_NEAR = frozenset(("open", "fold", "unfold", "cut", "peel", "stir", "pour"))

# noun -> its flags, with the chance that each starts as 1
FLAGS: dict[str, dict[str, float]] = {
    "book": {"open": 0.25, "stain": 0.6},
    "bottle": {"open": 0.15},
    "bowl": {"level": 0.0, "yolk": 0.0, "stain": 0.5},
    "box": {"open": 0.3},
    "bread": {"cuts": 0.0},
    "brick": {"apart": 0.5},
    "carrot": {"peeled": 0.15, "cuts": 0.0},
    "cloth": {"folded": 0.6},
    "cucumber": {"peeled": 0.15, "cuts": 0.0},
    "cup": {"level": 0.25},
    "egg": {"cracked": 0.0},
    "jar": {"open": 0.2},
    "lamp": {"on": 0.4},
    "paper": {"folded": 0.6},
    "pen": {"apart": 0.4},
    "plate": {"stain": 0.85},
    "radio": {"on": 0.4},
}


@dataclass
class Table:
    """State of everything, as whole numbers.

    Attributes:
        flags: noun -> flag -> value, for every thing present.
        near: what stands in front of the person, least recently used first.
        held: the tool in the hand, if any.
    """

    flags: dict[str, dict[str, int]]
    near: list[str] = field(default_factory=list)
    held: str | None = None

    def copy(self) -> "Table":
        """Returns an independent copy."""
        return copy.deepcopy(self)

    def target(self, verb: str) -> str | None:
        """Returns the second thing an action works on: what is poured or cracked into."""
        if verb == "crack":
            return "bowl" if "bowl" in self.flags else None
        if verb != "pour":
            return None
        vessels = [n for n in ("cup", "bowl") if n in self.flags and self.flags[n]["level"] < FULL]
        return min(vessels, key=lambda noun: noun not in self.near, default=None)

    def allows(self, verb: str, noun: str) -> bool:
        """Whether the action makes sense now or after what is `missing` for it."""
        if noun not in self.flags or noun not in ALLOWED[verb]:
            return False
        tool = TOOL_OF.get(verb)
        if tool is not None and tool not in self.flags:
            return False
        flags = self.flags[noun]
        if flags.get("cracked"):
            return False
        if verb in CHANGES:
            flag, before, _ = CHANGES[verb]
            return (
                flags[flag] == before
                and not (verb == "peel" and flags["cuts"])
                and not (verb == "wipe" and (flags.get("level") or flags.get("yolk")))
                and not (verb == "wipe" and flags.get("open"))
                and not (verb == "crack" and self.target("crack") is None)
            )
        in_parts = flags.get("open") or flags.get("apart") or flags.get("cuts")
        is_out = noun in self.near or noun == self.held
        return {
            "cut": lambda: flags.get("cuts", 0) < FULL,
            "pour": lambda: self.target("pour") is not None,
            "take": lambda: not is_out,
            "put": lambda: is_out,
            "inspect": lambda: not in_parts and not flags.get("level") and noun != self.held,
            "shake": lambda: not in_parts and not (noun == "cloth" and flags["folded"]),
            "stir": lambda: noun != "jar" or bool(flags["open"]),
        }.get(verb, lambda: noun != self.held)()

    def missing(self, verb: str, noun: str) -> Step | None:
        """Returns the one action that has to come first, or None when all is ready."""
        tool = TOOL_OF.get(verb)
        if verb == "take" and noun in TOOLS and self.held:
            return ("put", self.held)
        if tool is not None and self.held != tool:
            return ("put", self.held) if self.held else ("take", tool)
        if verb in _TWO_HANDED and self.held:
            return ("put", self.held)
        if verb == "take" and noun not in TOOLS and len(self.near) >= NEAR_CAPACITY:
            return ("put", self.near[0])
        wanted = [noun] if verb in _NEAR else []
        target = self.target(verb)
        if target is not None:
            wanted.append(target)
        for thing in wanted:
            if thing not in self.near:
                if len(self.near) >= NEAR_CAPACITY:
                    return ("put", next(n for n in self.near if n not in wanted))
                return ("take", thing)
        if verb == "pour" and self.flags[noun].get("open") == 0:
            return ("open", noun)
        return None

    def change(self, verb: str, noun: str) -> tuple[str, str, int] | None:
        """Returns (noun, flag, new value) of what the action alters, or None."""
        if verb in CHANGES:
            flag, _, after = CHANGES[verb]
            return noun, flag, after
        if verb == "cut":
            return noun, "cuts", self.flags[noun]["cuts"] + 1
        target = self.target(verb)
        if target is not None:
            return target, "level", self.flags[target]["level"] + 1
        return None

    def apply(self, verb: str, noun: str) -> None:
        """Carries out one action whose needs are met."""
        change, target = self.change(verb, noun), self.target(verb)
        if change is not None:
            thing, flag, value = change
            self.flags[thing][flag] = value
        if verb == "crack":
            self.flags["bowl"]["yolk"] = 1
        if noun in TOOLS and verb in ("take", "put"):
            self.held = noun if verb == "take" else None
        elif verb in ("take", "put"):
            self.near = [thing for thing in self.near if thing != noun]
            if verb == "take":
                self.near.append(noun)
        for used in (noun, target):
            if used is not None and used in self.near:
                self.near.remove(used)
                self.near.append(used)
