"""Shapes of food: bread, carrots, cucumbers and eggs, whole and in pieces."""

import math

import numpy as np

from tabletop.drawing.appearance import FLESH, HALF_TURN, Look, dark, mix, pale
from tabletop.drawing.canvas import ShapeBuilder
from tabletop.motion.scene import Flags


def _pieces(count: float, low: float, high: float) -> list[tuple[float, float, float]]:
    """Returns (start, end, shift) of each piece of something cut `count` times."""
    edges = [low, *sorted((0.03, -0.05)[: math.ceil(count)]), high]
    gap = 0.055 * min(1.0, count)
    late = min(1.0, max(0.0, count - 1.0)) * 0.05
    shifts = {1: [0.0], 2: [-gap / 2, gap / 2], 3: [-gap / 2 - late, -gap / 2, gap / 2]}
    pieces = zip(edges[:-1], edges[1:], shifts[len(edges) - 1], strict=True)
    return [(a, b, shift) for a, b, shift in pieces]


def draw_bread(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """Draws the noun of its name."""
    crust, crumb = look.main, pale(look.main, 0.6)
    for i, (a, b, shift) in enumerate(_pieces(flags["cuts"], -0.13, 0.12)):
        a, b = a + shift, b + shift
        round_l, round_r = (0.025 if i == 0 else 0.0), 0.02
        top = [(a, -0.05), (a + round_l, -0.075), (b - round_r, -0.075), (b, -0.05)]
        builder.poly(top + [(x, -y) for x, y in reversed(top)], crust)
        builder.box(a + 0.02, -0.055, b - 0.02, 0.0, pale(crust, 0.22))
        if flags["cuts"] > 0.1:
            builder.disc(b - 0.004, 0.0, 0.022, 0.062, crumb)
        for x in np.arange(a + 0.03, b - 0.03, 0.05):
            builder.line([(x, -0.05), (x + 0.018, -0.01)], 0.007, dark(crust, 0.3))


def _root(builder: ShapeBuilder, look: Look, flags: Flags, ends: tuple[float, float]) -> None:
    """Carrots and cucumbers: half widths at the left and right ends."""
    skin = mix(look.main, FLESH, 0.78 * flags["peeled"])
    flesh = pale(mix(look.main, FLESH, 0.6), 0.2)
    for a, b, shift in _pieces(flags["cuts"], -0.145, 0.145):
        width_a = ends[0] + (ends[1] - ends[0]) * (a + 0.145) / 0.29
        width_b = ends[0] + (ends[1] - ends[0]) * (b + 0.145) / 0.29
        a, b = a + shift, b + shift
        builder.poly([(a, -width_a), (b, -width_b), (b, width_b), (a, width_a)], skin)
        builder.disc(a, 0.0, 0.018, width_a, skin)
        builder.disc(b, 0.0, 0.018, width_b, flesh if flags["cuts"] > 0.1 else skin)
        builder.poly([(a, width_a * 0.4), (b, width_b * 0.4), (b, width_b), (a, width_a)],
                   dark(skin, 0.2))  # fmt: skip
    if flags["peeled"] > 0.05:
        curl = [(-0.09, 0.075), (-0.05, 0.09), (-0.01, 0.075), (0.03, 0.088), (0.07, 0.075)]
        builder.line(curl[: 2 + round(3 * flags["peeled"])], 0.02, look.main)


def draw_carrot(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """Draws the noun of its name."""
    left = -0.145 - 0.02 * min(1.0, flags["cuts"]) - 0.04 * max(0.0, flags["cuts"] - 1.0)
    for dy in (-0.035, 0.0, 0.03):
        builder.line([(left, 0.0), (left - 0.055, dy)], 0.016, (70, 130, 52))
    _root(builder, look, flags, (0.046, 0.016))
    if flags["peeled"] < 0.5 and not flags["cuts"]:
        for x in (-0.09, -0.02, 0.05):
            builder.line([(x, -0.03), (x + 0.006, -0.01)], 0.006, dark(look.main, 0.25))


def draw_cucumber(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """Draws the noun of its name."""
    _root(builder, look, flags, (0.036, 0.033))
    if flags["peeled"] < 0.5 and not flags["cuts"]:
        for y in (-0.018, 0.0):
            builder.line([(-0.12, y), (0.12, y)], 0.006, pale(look.main, 0.25))


def draw_egg(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """Draws the noun of its name."""
    apart = flags["cracked"]
    if apart < 0.02:
        builder.disc(0.0, 0.0, 0.056, 0.072, look.main)
        builder.disc(0.008, 0.014, 0.044, 0.054, dark(look.main, 0.1))
        builder.disc(-0.016, -0.024, 0.018, 0.024, pale(look.main, 0.7))
        return
    for side in (-1.0, 1.0):
        x, turn = side * (0.03 + 0.045 * apart), side * 0.5 * apart
        rim = np.array([(-0.055, 0.0), (-0.035, -0.018), (-0.018, 0.004), (0.0, -0.016),
                        (0.02, 0.004), (0.038, -0.016), (0.055, 0.0)])  # fmt: skip
        base = np.stack([0.055 * np.cos(HALF_TURN), 0.055 * np.sin(HALF_TURN)], 1)
        c, s = math.cos(turn), math.sin(turn)
        shell = np.concatenate([rim, base]) @ np.array([[c, s], [-s, c]]) + (x, 0.0)
        builder.poly(shell, look.main)
        builder.disc(x, 0.006, 0.042, 0.014, pale(look.main, 0.6))
