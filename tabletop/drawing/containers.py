"""Shapes of containers, in the coordinates of `objects`."""

import math

from tabletop.drawing.appearance import (
    DRINK,
    GLASS,
    HALF_TURN,
    INK,
    STAIN,
    WHITE,
    YOLK,
    Color,
    Look,
    dark,
    mix,
    pale,
)
from tabletop.drawing.canvas import ShapeBuilder
from tabletop.motion.poses import part_at
from tabletop.motion.scene import Flags


def _tub(
    builder: ShapeBuilder, top: float, bottom: float, y0: float, y1: float, color: Color
) -> None:
    """A round vessel's outside: half widths at its top and bottom edges."""
    curve = 0.28 * bottom
    base = [(bottom * math.cos(a), y1 + curve * math.sin(a)) for a in HALF_TURN]
    builder.poly([(top, y0), *base, (-top, y0)], color)
    shadow = [(0.35 * bottom, y1 + 0.93 * curve), (bottom, y1), (top, y0), (0.55 * top, y0)]
    builder.poly(shadow, dark(color, 0.22))


def draw_stain(
    builder: ShapeBuilder, x: float, y: float, size: float, amount: float, ground: Color
) -> None:
    """Five spots of dirt; `amount` from 0 to 1 sets how far they stand out from the ground."""
    color = mix(ground, STAIN, min(1.0, amount) * 0.9)
    for dx, dy, r in ((0.0, 0.0, 0.045), (0.05, 0.012, 0.026), (-0.045, 0.018, 0.03),
                      (0.015, -0.024, 0.02), (-0.02, 0.035, 0.016)):  # fmt: skip
        builder.disc(x + dx * size, y + dy * size, r * size, 0.72 * r * size, color)


def draw_bottle(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """A bottle without its cap."""
    color = look.main
    right = [(0.022, -0.135), (0.025, -0.075), (0.058, -0.03), (0.058, 0.125), (0.045, 0.14)]
    builder.poly(right + [(-x, y) for x, y in reversed(right)], color)
    builder.box(0.022, -0.025, 0.058, 0.128, dark(color, 0.25))
    builder.box(-0.058, 0.015, 0.058, 0.085, pale(look.accent, 0.5))
    builder.box(-0.03, 0.035, 0.03, 0.065, look.accent)
    builder.line([(-0.04, -0.02), (-0.04, 0.005)], 0.012, pale(color, 0.6))
    builder.disc(0.0, -0.135, 0.022, 0.009, INK)


def draw_bottle_cap(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """The cap, on the neck or beside the bottle."""
    x, y = part_at("bottle", flags["open"])
    cap = dark(look.accent, 0.15)
    builder.box(x - 0.028, y - 0.016, x + 0.028, y + 0.02, cap)
    builder.disc(x, y - 0.016, 0.028, 0.011, pale(cap, 0.25))


def draw_bowl(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """A bowl, with what is poured or cracked into it."""
    color = pale(look.main, 0.2)
    _tub(builder, 0.145, 0.065, -0.03, 0.085, color)
    if flags["stain"] > 0.05:
        draw_stain(builder, -0.035, 0.035, 0.85, flags["stain"], color)
    builder.disc(0.0, -0.03, 0.145, 0.062, pale(color, 0.4))
    builder.disc(0.0, -0.026, 0.128, 0.052, dark(color, 0.45))
    if flags["level"] > 0.02:
        fill = min(1.0, 0.45 + 0.3 * flags["level"])
        builder.disc(0.0, -0.02, 0.122 * fill, 0.046 * fill, (206, 214, 226))
    if flags["yolk"] > 0.05:
        builder.disc(0.0, -0.02, 0.085 * flags["yolk"], 0.03, (240, 236, 214))
        builder.disc(0.01, -0.022, 0.045 * flags["yolk"], 0.024, YOLK)


def draw_cup(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """A cup with a handle and its drink."""
    color = look.main
    loop = [(0.055, -0.045), (0.115, -0.04), (0.12, 0.03), (0.055, 0.06)]
    builder.line(loop, 0.022, dark(color, 0.12))
    _tub(builder, 0.078, 0.06, -0.065, 0.085, color)
    if look.variant:
        builder.box(-0.068, -0.005, 0.068, 0.03, look.accent)
    builder.disc(0.0, -0.065, 0.078, 0.034, pale(color, 0.45))
    builder.disc(0.0, -0.062, 0.066, 0.027, dark(color, 0.5))
    if flags["level"] > 0.02:
        fill = min(1.0, 0.5 + 0.28 * flags["level"])
        builder.disc(0.0, -0.058, 0.064 * fill, 0.024 * fill, DRINK)
        builder.disc(-0.015, -0.061, 0.016 * fill, 0.006, pale(DRINK, 0.5))


def draw_jar(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """A glass jar without its lid."""
    glass = mix(GLASS, look.main, 0.25)
    _tub(builder, 0.085, 0.08, -0.075, 0.10, glass)
    builder.box(-0.072, -0.005, 0.072, 0.10, look.main)
    builder.box(-0.082, 0.02, 0.082, 0.07, pale(look.accent, 0.65))
    builder.line([(-0.06, -0.05), (-0.06, 0.08)], 0.014, WHITE)
    builder.disc(0.0, -0.075, 0.08, 0.03, pale(glass, 0.4))
    builder.disc(0.0, -0.072, 0.066, 0.023, dark(look.main, 0.55))


def draw_jar_lid(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """The lid, on the jar or beside it."""
    x, y = part_at("jar", flags["open"])
    builder.poly([(x - 0.088, y - 0.016), (x + 0.088, y - 0.016), (x + 0.086, y + 0.02),
                (x, y + 0.036), (x - 0.086, y + 0.02)], look.accent)  # fmt: skip
    builder.disc(x, y - 0.016, 0.088, 0.032, pale(look.accent, 0.25))
    builder.disc(x, y - 0.016, 0.066, 0.022, pale(look.accent, 0.1))


def draw_jug(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """A jug with a handle and its drink."""
    color = pale(look.main, 0.15)
    builder.line([(0.06, -0.10), (0.135, -0.075), (0.135, 0.035), (0.075, 0.075)], 0.026,
               dark(color, 0.2))  # fmt: skip
    _tub(builder, 0.062, 0.072, -0.115, 0.105, color)
    builder.disc(0.0, 0.045, 0.098, 0.082, color)
    builder.poly([(0.035, -0.02), (0.095, 0.03), (0.085, 0.09), (0.04, 0.12)], dark(color, 0.2))
    builder.poly([(-0.055, -0.13), (-0.115, -0.125), (-0.055, -0.06)], color)
    builder.disc(0.0, -0.115, 0.064, 0.024, pale(color, 0.4))
    builder.disc(0.0, -0.112, 0.052, 0.017, dark(color, 0.55))
    if look.variant:
        builder.line([(-0.085, 0.04), (0.085, 0.04)], 0.016, look.accent)


def draw_plate(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    """A plate with a rim, some with a ring."""
    color = look.main
    builder.disc(0.0, 0.008, 0.165, 0.105, dark(color, 0.35))
    builder.disc(0.0, 0.0, 0.165, 0.10, color)
    if look.variant:
        builder.disc(0.0, 0.0, 0.148, 0.088, look.accent)
        builder.disc(0.0, 0.0, 0.138, 0.081, color)
    builder.disc(0.0, 0.0, 0.112, 0.064, dark(color, 0.12))
    builder.disc(0.0, 0.004, 0.104, 0.057, pale(color, 0.5))
    if flags["stain"] > 0.05:
        draw_stain(builder, 0.0, 0.0, 1.3, flags["stain"], pale(color, 0.5))
