"""Shapes of forearms and hands, which enter from below."""

import math

from tabletop.drawing.appearance import Color, Looks, mix
from tabletop.drawing.canvas import Canvas, ShapeBuilder, Shapes
from tabletop.motion.poses import XY

_SHOULDERS: tuple[XY, XY] = ((-0.52, 1.02), (0.52, 1.02))
_DARK: Color = (40, 20, 14)
# per finger: knuckle, direction from straight ahead, length when stretched
_FINGERS = ((-0.036, -0.22, 0.070), (-0.012, -0.06, 0.082), (0.012, 0.06, 0.080),
            (0.034, 0.20, 0.064))  # fmt: skip
_CURL = {"open": 0.9, "grip": 0.55, "point": 0.35, "flat": 1.0}
POSES = tuple(_CURL)


def sketch_palm(looks: Looks, pose: str) -> Shapes:
    """Returns a right hand with its wrist at the origin, fingers up, thumb on the left."""
    skin, width, builder = looks.skin, 0.027 * looks.finger_width, ShapeBuilder()
    shade = _shade(looks)
    fingers = []
    for i, (x, turn, reach) in enumerate(_FINGERS):
        stretch = reach * (1.1 if pose == "point" and i == 0 else _CURL[pose])
        turn *= 1.6 if pose in ("open", "flat") else 0.5
        tip = (x + stretch * math.sin(turn), -0.066 - stretch * math.cos(turn))
        fingers.append([(x, -0.059), tip])
    builder.disc(0.0, -0.035, 0.055, 0.056, shade)
    builder.disc(-0.002, -0.038, 0.050, 0.052, skin)
    for finger in fingers:
        builder.line(finger, width * 1.22, shade)
    for finger in fingers:
        builder.line(finger, width * 0.86, skin)
        builder.line([finger[1], finger[1]], width * 0.42, mix(skin, (255, 225, 215), 0.5))
    tip = (-0.055, -0.105) if pose in ("grip", "point") else (-0.098, -0.088)
    thumb = [(-0.03, -0.015), (-0.075, -0.055), tip]
    builder.line(thumb, width * 1.35, shade)
    builder.line(thumb, width, skin)
    return builder.build()


def _shade(looks: Looks) -> Color:
    return mix(looks.skin, _DARK, 0.28)


def draw_hand(
    canvas: Canvas, looks: Looks, palms: dict[str, Shapes], side: int, at: XY, pose: str
) -> None:
    """Draws one arm whose fingers close around a point.

    Args:
        canvas: in table coordinates.
        looks: colours and sizes of the video.
        palms: pose -> `sketch_palm` of it.
        side: 0 left, 1 right.
        at: where the grip is.
        pose: "open", "grip", "point" or "flat".
    """
    size = looks.hand_size
    if canvas.is_below(*at, 0.06 * size):
        return
    sx, sy = _SHOULDERS[side]
    dx, dy = at[0] - sx, at[1] - sy
    length = math.hypot(dx, dy)
    ux, uy = dx / length, dy / length
    back = (0.085 if pose == "flat" else 0.115) * size
    wrist = (at[0] - ux * back, at[1] - uy * back)
    shade = _shade(looks)
    canvas.line([wrist, (sx, sy)], 0.092 * size, shade)
    canvas.line([(wrist[0] - 0.006, wrist[1]), (sx - 0.01, sy)], 0.072 * size, looks.skin)
    bare = 0.10 + 0.28 * looks.sleeve_from
    cuff = (wrist[0] - ux * bare, wrist[1] - uy * bare)
    if not canvas.is_below(*cuff, 0.08 * size):
        canvas.line([cuff, (sx, sy)], 0.135 * size, looks.sleeve)
        canvas.line([cuff, (cuff[0] - ux * 0.02, cuff[1] - uy * 0.02)], 0.14 * size,
                   mix(looks.sleeve, _DARK, 0.3))  # fmt: skip
    angle = math.atan2(ux, -uy)
    canvas.print(palms[pose], *wrist, angle, size if side else -size, size)
