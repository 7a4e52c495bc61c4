"""Colours, sizes, hands and table of one video, and the colours that all videos share.

No random draw is shared by two splits.
"""

import colorsys
import math
from dataclasses import dataclass

import numpy as np

from tabletop.story.rules import NOUNS

Color = tuple[float, float, float]  # RGB, 0 to 255

INK: Color = (28, 24, 26)
WHITE: Color = (246, 244, 238)
GLASS: Color = (205, 220, 222)
STAIN: Color = (92, 48, 22)
DRINK: Color = (112, 62, 26)
FLESH: Color = (238, 226, 176)
YOLK: Color = (250, 186, 30)
STEEL: Color = (186, 190, 196)
HALF_TURN = np.linspace(0.0, math.pi, 12)  # angles

_CELLS = 8  # each draw falls in one of these, and inside it in the split's own part
_PART = {"train": (0.0, 0.48), "val": (0.52, 0.72), "test": (0.76, 0.96)}
TABLES = ("wood", "plain", "checks", "stone")

# natural things: hue, saturation, value and how far each may stray
_NATURAL: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "bread": ((0.08, 0.02), (0.50, 0.15), (0.68, 0.12)),
    "carrot": ((0.065, 0.025), (0.80, 0.15), (0.85, 0.12)),
    "cucumber": ((0.28, 0.06), (0.55, 0.2), (0.50, 0.15)),
    "egg": ((0.08, 0.03), (0.25, 0.18), (0.90, 0.08)),
    "knife": ((0.6, 0.1), (0.06, 0.05), (0.80, 0.1)),
    "paper": ((0.14, 0.1), (0.06, 0.06), (0.94, 0.05)),
    "plate": ((0.5, 0.5), (0.12, 0.12), (0.90, 0.08)),
    "spoon": ((0.6, 0.1), (0.06, 0.05), (0.76, 0.1)),
    "sponge": ((0.14, 0.04), (0.60, 0.25), (0.90, 0.1)),
}


class SplitRng:
    """Random numbers that are disjoint between splits."""

    def __init__(self, split: str, rng: np.random.Generator) -> None:
        self._low, self._high = _PART[split]
        self._rng = rng

    def unit(self) -> float:
        """Returns a number in [0, 1) from the split's own parts of it."""
        inside = self._rng.uniform(self._low, self._high)
        return float((self._rng.integers(_CELLS) + inside) / _CELLS)

    def within(self, low: float, high: float) -> float:
        """Returns a number in [low, high)."""
        return low + (high - low) * self.unit()

    def around(self, middle: float, spread: float) -> float:
        """Returns a number within `spread` of `middle`."""
        return self.within(middle - spread, middle + spread)


@dataclass(frozen=True)
class Look:
    """Appearance of one thing in one video.

    Attributes:
        main: its colour.
        accent: of lid, handle, stripe.
        size: factor on both lengths.
        aspect: factor on the width alone.
        variant: 0 or 1, a small difference of shape.
    """

    main: Color
    accent: Color
    size: float
    aspect: float
    variant: int


@dataclass(frozen=True)
class Looks:
    """Appearance of one video.

    Attributes:
        things: noun -> look.
        skin: colour of the hands.
        sleeve: colour of the sleeves.
        hand_size: factor on hands.
        finger_width: factor on fingers.
        sleeve_from: how much of the forearm is bare, 0 to 1.
        table: one of `TABLES`.
        table_color: its colour.
        table_accent: its second colour.
        mirrored: the person is left-handed.
        noise: standard deviation of the sensor noise, grey levels.
        vignette: darkening of the corners, 0 to 1.
        tint: colour of the light.
        clutter: (x, y, size, angle, color) of flat things that mean nothing.
    """

    things: dict[str, Look]
    skin: Color
    sleeve: Color
    hand_size: float
    finger_width: float
    sleeve_from: float
    table: str
    table_color: Color
    table_accent: Color
    mirrored: bool
    noise: float
    vignette: float
    tint: Color
    clutter: tuple[tuple[float, float, float, float, Color], ...]


def hsv(h: float, s: float, v: float) -> Color:
    """Returns RGB in 0 to 255; the hue wraps, the others are clipped."""
    r, g, b = colorsys.hsv_to_rgb(h % 1.0, min(max(s, 0.0), 1.0), min(max(v, 0.0), 1.0))
    return 255.0 * r, 255.0 * g, 255.0 * b


def mix(p: Color, q: Color, u: float) -> Color:
    """Returns the colour a fraction u of the way from p to q."""
    return p[0] + (q[0] - p[0]) * u, p[1] + (q[1] - p[1]) * u, p[2] + (q[2] - p[2]) * u


def draw_looks(split: str, rng: np.random.Generator) -> Looks:
    """Returns the looks of one video."""
    fold = SplitRng(split, rng)
    skin_depth = fold.unit()
    table_hue, table_value = fold.within(0.03, 0.14), fold.within(0.28, 0.85)
    table = TABLES[int(rng.integers(len(TABLES)))]
    if table != "wood":
        table_hue = fold.unit()
    saturation = fold.within(0.25, 0.55) if table == "wood" else fold.within(0.03, 0.35)
    return Looks(
        things={noun: _look(noun, fold, rng) for noun in NOUNS},
        skin=hsv(
            fold.around(0.055, 0.02), 0.30 + 0.35 * skin_depth, 0.96 - 0.62 * skin_depth**1.2
        ),
        sleeve=hsv(fold.unit(), fold.within(0.05, 0.8), fold.within(0.15, 0.9)),
        hand_size=fold.around(1.0, 0.14),
        finger_width=fold.around(1.0, 0.2),
        sleeve_from=fold.within(0.1, 1.0),
        table=table,
        table_color=hsv(table_hue, saturation, table_value),
        table_accent=hsv(table_hue + fold.around(0.0, 0.06), saturation, table_value * 0.8),
        mirrored=bool(rng.random() < 0.25),
        noise=fold.within(1.5, 5.0),
        vignette=fold.within(0.1, 0.5),
        tint=hsv(fold.within(0.05, 0.65), fold.within(0.0, 0.14), 1.0),
        clutter=tuple(
            (fold.around(0.0, 1.0), fold.within(-0.5, 0.4), fold.within(0.02, 0.06),
             fold.within(0.0, 6.28), hsv(fold.unit(), fold.unit(), fold.within(0.2, 0.9)))
            for _ in range(int(rng.integers(3, 8)))
        ),
    )  # fmt: skip


def _look(noun: str, fold: SplitRng, rng: np.random.Generator) -> Look:
    if noun in _NATURAL:
        main = hsv(*(fold.around(middle, spread) for middle, spread in _NATURAL[noun]))
    else:
        main = hsv(fold.unit(), fold.within(0.2, 0.8), fold.within(0.45, 0.92))
    return Look(
        main=main,
        accent=hsv(fold.unit(), fold.within(0.25, 0.85), fold.within(0.3, 0.9)),
        size=fold.around(1.0, 0.12),
        aspect=fold.around(1.0, 0.08),
        variant=int(rng.integers(2)),
    )


def dark(color: Color, amount: float = 0.3) -> Color:
    """Returns the colour in shadow."""
    return mix(color, INK, amount)


def pale(color: Color, amount: float = 0.35) -> Color:
    """Returns the colour in light."""
    return mix(color, WHITE, amount)
