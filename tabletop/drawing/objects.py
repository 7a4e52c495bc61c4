"""Shapes of each noun in local coordinates, a quarter of a frame high, y towards the person."""

import math
from collections.abc import Callable

import numpy as np

from tabletop.drawing.appearance import (
    STEEL,
    WHITE,
    Color,
    Look,
    dark,
    mix,
    pale,
)
from tabletop.drawing.canvas import ShapeBuilder
from tabletop.drawing.containers import (
    draw_bottle,
    draw_bottle_cap,
    draw_bowl,
    draw_cup,
    draw_jar,
    draw_jar_lid,
    draw_jug,
    draw_plate,
    draw_stain,
)
from tabletop.drawing.food import draw_bread, draw_carrot, draw_cucumber, draw_egg
from tabletop.motion.poses import part_at
from tabletop.motion.scene import Flags


def _book(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    opened = flags["open"]
    builder.box(-0.095, -0.135, 0.105, 0.125, dark(look.main))
    builder.box(-0.09, -0.13, 0.10, 0.115, WHITE)
    if opened > 0.02:
        for i in range(7):
            y = -0.10 + 0.03 * i
            builder.line([(-0.065, y), (0.08 - 0.03 * (i % 3 == 2), y)], 0.007, (120, 118, 116))
    edge, rise = part_at("book", opened)
    edge = edge if opened < 0.98 else -0.28
    side = WHITE if edge < -0.09 else look.main
    top, low = -0.13 + 0.5 * rise, 0.12 + 0.8 * rise
    builder.poly([(-0.09, -0.13), (edge, top), (edge, low), (-0.09, 0.12)], side)
    if edge < -0.09:
        builder.line([(edge, top), (edge, low)], 0.012, look.main)
        builder.box(edge + 0.03, -0.08, -0.11, 0.02, pale(look.accent, 0.3))
        builder.line([(-0.09, -0.13), (-0.09, 0.12)], 0.008, (150, 148, 140))
        return
    wide = edge + 0.09
    builder.box(-0.09, -0.13, -0.07, 0.12, dark(look.main, 0.4))
    builder.box(-0.05 * wide / 0.19, -0.08, edge - 0.2 * wide, -0.03, pale(look.accent))
    builder.box(-0.03 * wide / 0.19, 0.03, edge - 0.3 * wide, 0.045, look.accent)
    if flags["stain"] > 0.05:
        draw_stain(builder, 0.03, 0.03, 0.9, flags["stain"], look.main)


def _carton(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    color = look.main
    builder.box(-0.125, -0.03, 0.125, 0.12, color)
    builder.box(0.07, -0.03, 0.125, 0.12, dark(color, 0.18))
    builder.box(-0.085, 0.02, 0.035, 0.085, pale(look.accent, 0.3))
    back = [(-0.125, -0.03), (-0.10, -0.115), (0.10, -0.115), (0.125, -0.03)]
    if flags["open"] < 0.03:
        builder.poly(back, pale(color, 0.25))
        builder.line([(0.0, -0.115), (0.0, -0.03)], 0.014, pale(look.accent, 0.5))
        return
    builder.poly(back, dark(color, 0.72))
    y = part_at("box", flags["open"])[1] - 0.02
    builder.poly([(-0.10, -0.115), (0.10, -0.115), (0.115, y), (-0.115, y)], pale(color, 0.3))
    for side in (-1.0, 1.0):
        reach = side * (0.125 + 0.06 * flags["open"])
        builder.poly(
            [(side * 0.125, -0.03), (side * 0.10, -0.115), (reach, -0.10), (reach * 1.08, -0.04)],
            dark(color, 0.1),
        )


def _sheet(
    builder: ShapeBuilder,
    look: Look,
    flags: Flags,
    name: str,
    size: tuple[float, float],
    wave: float,
) -> float:
    """Cloth and paper: the right half folds over to the left. Returns the visible right edge."""
    w, h = size
    folded = flags["folded"]
    ripple = [(x, wave * math.sin(40.0 * x)) for x in np.linspace(-w, w, 9)]
    if folded < 0.98:
        limit = w if folded < 0.03 else 0.0
        top = [(x, -h + dy) for x, dy in ripple if x <= limit + 1e-9]
        low = [(x, h - dy) for x, dy in reversed(ripple) if x <= limit + 1e-9]
        builder.poly(top + low, look.main)
        if folded < 0.03:
            return w
    edge, rise = part_at(name, folded)
    edge = edge * w / 0.14 if name == "cloth" else edge
    if folded >= 0.98:
        edge = -w
        builder.box(-w - 0.012, -h + 0.012, 0.0, h + 0.014, dark(look.main, 0.3))
    shape = [(0.0, -h), (edge, -h + rise), (edge, h + rise), (0.0, h)]
    builder.poly(shape, pale(look.main, 0.3) if edge < 0 else look.main)
    return 0.0


def _cloth(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    right = _sheet(builder, look, flags, "cloth", (0.15, 0.105), 0.008)
    stripe = look.accent if flags["folded"] < 0.5 else pale(look.accent, 0.3)
    for y in (-0.06, 0.0, 0.06):
        if flags["folded"] < 0.03 or flags["folded"] > 0.97:
            builder.line([(-0.145, y), (right - 0.006, y)], 0.02, stripe)


def _paper(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    right = _sheet(builder, look, flags, "paper", (0.12, 0.135), 0.0)
    if flags["folded"] < 0.03:
        for i in range(6):
            y = -0.10 + 0.036 * i
            builder.line([(-0.09, y), (right - 0.03 - 0.05 * (i == 5), y)], 0.008, (96, 98, 130))
    elif flags["folded"] > 0.97:
        builder.line([(0.0, -0.13), (0.0, 0.13)], 0.01, dark(look.main, 0.25))


def _knife(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    handle = dark(look.accent, 0.45)
    builder.poly([(-0.02, 0.02), (-0.03, -0.11), (0.0, -0.165), (0.016, -0.13), (0.016, 0.02)],
               look.main)  # fmt: skip
    builder.line([(0.0, -0.13), (0.0, 0.015)], 0.008, pale(look.main, 0.7))
    builder.line([(0.0, 0.035), (0.0, 0.125)], 0.034, handle)
    builder.disc(0.0, 0.06, 0.005, 0.005, pale(handle))
    builder.disc(0.0, 0.10, 0.005, 0.005, pale(handle))


def _spoon(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    stem = look.main if look.variant else mix((170, 118, 66), look.main, 0.25)
    builder.line([(0.0, -0.05), (0.0, 0.13)], 0.022, stem)
    builder.disc(0.0, -0.10, 0.042, 0.06, stem)
    builder.disc(0.0, -0.10, 0.028, 0.043, dark(stem, 0.28))


def _sponge(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    builder.box(-0.09, -0.055, 0.09, 0.02, look.main)
    builder.box(-0.09, 0.02, 0.09, 0.055, dark(look.accent, 0.15))
    for x, y in ((-0.06, -0.03), (-0.02, -0.01), (0.03, -0.035), (0.06, -0.01), (0.0, -0.04)):
        builder.disc(x, y, 0.009, 0.007, dark(look.main, 0.35))


def _lamp(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    on = flags["on"] > 0.5
    metal = dark(look.accent, 0.35)
    builder.disc(0.0, 0.11, 0.085, 0.032, metal)
    builder.disc(0.035, 0.108, 0.014, 0.008, (90, 220, 90) if on else dark(metal, 0.5))
    builder.line([(0.0, 0.10), (0.0, -0.03)], 0.02, metal)
    shade = mix(look.main, (255, 240, 150), 0.82) if on else dark(look.main, 0.15)
    builder.poly([(-0.05, -0.15), (0.05, -0.15), (0.115, -0.02), (-0.115, -0.02)], shade)
    builder.disc(0.0, -0.02, 0.115, 0.026, (255, 252, 214) if on else dark(look.main, 0.6))


def _radio(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    on = flags["on"] > 0.5
    builder.line([(0.10, -0.08), (0.15, -0.175)], 0.009, STEEL)
    builder.box(-0.145, -0.085, 0.145, 0.095, look.main)
    builder.box(-0.145, 0.075, 0.145, 0.095, dark(look.main, 0.3))
    builder.disc(-0.07, 0.0, 0.062, 0.06, dark(look.main, 0.65))
    builder.disc(-0.07, 0.0, 0.03, 0.029, dark(look.main, 0.4))
    builder.box(0.01, -0.062, 0.128, -0.005, (120, 250, 190) if on else (38, 46, 44))
    if on:
        for i, height in enumerate((0.02, 0.04, 0.028, 0.045, 0.018)):
            builder.box(0.022 + 0.021 * i, -0.01 - height, 0.034 + 0.021 * i, -0.01, (16, 70, 50))
    for x in (0.035, 0.075, 0.112):
        builder.disc(x, 0.04, 0.015, 0.015, pale(look.accent, 0.2))


def _brick(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    _block(builder, 0.0, 0.045, look.main)
    x, y = part_at("brick", flags["apart"])
    _block(builder, x, y + 0.02, look.accent)


def _block(builder: ShapeBuilder, x: float, y: float, color: Color) -> None:
    builder.box(x - 0.085, y - 0.03, x + 0.085, y + 0.045, color)
    builder.box(x - 0.085, y + 0.03, x + 0.085, y + 0.045, dark(color, 0.3))
    builder.poly([(x - 0.085, y - 0.03), (x - 0.068, y - 0.06), (x + 0.068, y - 0.06),
                (x + 0.085, y - 0.03)], pale(color, 0.3))  # fmt: skip
    for dx in (-0.045, 0.0, 0.045):
        builder.box(x + dx - 0.015, y - 0.062, x + dx + 0.015, y - 0.042, dark(color, 0.12))
        builder.disc(x + dx, y - 0.062, 0.015, 0.007, pale(color, 0.45))


def _pen(builder: ShapeBuilder, look: Look, flags: Flags) -> None:
    builder.line([(-0.125, 0.0), (0.06, 0.0)], 0.034, look.main)
    builder.line([(-0.06, -0.006), (0.03, -0.006)], 0.008, pale(look.main, 0.6))
    builder.poly([(0.07, -0.016), (0.12, 0.0), (0.07, 0.016)], STEEL)
    x, y = part_at("pen", flags["apart"])
    builder.line([(x - 0.03, y), (x + 0.03, y)], 0.044, look.accent)
    builder.line([(x - 0.02, y - 0.024), (x + 0.035, y - 0.024)], 0.009, pale(look.accent, 0.5))


DRAW: dict[str, Callable[[ShapeBuilder, Look, Flags], None]] = {
    "book": _book, "bottle": draw_bottle, "bowl": draw_bowl, "box": _carton, "bread": draw_bread,
    "brick": _brick, "carrot": draw_carrot, "cloth": _cloth, "cucumber": draw_cucumber,
    "cup": draw_cup, "egg": draw_egg, "jar": draw_jar, "jug": draw_jug, "knife": _knife,
    "lamp": _lamp, "paper": _paper, "pen": _pen, "plate": draw_plate, "radio": _radio,
    "sponge": _sponge, "spoon": _spoon,
}  # fmt: skip
DRAW_LOOSE = {"bottle": draw_bottle_cap, "jar": draw_jar_lid}  # left behind when open
SHADOWS: dict[str, tuple[float, float, float]] = {  # half width, half height, distance
    "book": (0.11, 0.135, 0.008), "bread": (0.14, 0.07, 0.022), "brick": (0.10, 0.05, 0.045),
    "carrot": (0.15, 0.04, 0.014), "cloth": (0.155, 0.11, 0.004), "cucumber": (0.15, 0.04, 0.014),
    "egg": (0.06, 0.05, 0.03), "knife": (0.022, 0.14, 0.006), "lamp": (0.11, 0.05, 0.09),
    "paper": (0.12, 0.135, 0.003), "pen": (0.13, 0.018, 0.01), "plate": (0.165, 0.10, 0.012),
    "radio": (0.15, 0.08, 0.03), "sponge": (0.09, 0.055, 0.014), "spoon": (0.035, 0.14, 0.006),
}  # fmt: skip
TALL_SHADOW = (0.105, 0.06, 0.07)
