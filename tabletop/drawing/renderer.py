"""Renderer of frames and label maps from a scene and its appearance."""

import math

import numpy as np

from tabletop.drawing.appearance import Looks, mix
from tabletop.drawing.canvas import (
    Canvas,
    Image,
    ShapeBuilder,
    Shapes,
    blend,
    enlarge,
    expose,
    padded,
    smear,
    warp,
)
from tabletop.drawing.hands import POSES, draw_hand, sketch_palm
from tabletop.drawing.objects import DRAW, DRAW_LOOSE, SHADOWS, TALL_SHADOW
from tabletop.motion.scene import Moment, Scene, Thing
from tabletop.story.rules import NOUNS

_HALF_W, _HALF_H = 1.30, 0.90  # how much table is painted around the origin
_DETAIL = 1.1  # pixels of the painting for one pixel of a frame
_BLUR_SPEED = 0.012  # frame heights a hand moves in a frame before it blurs
_SMEAR_PX = 1.5  # pixels the view moves in a frame before it smears
_LIFT_ZOOM = 0.38
_NOISES = 8
_FLAT = 0.01  # a shadow thrown less far than this is not seen
HAND = len(NOUNS) + 1
ACTED_ON = 128
_STEPS = 40  # looks of a thing between two states


class Renderer:
    """Draws the frames of one video, in any order; fastest in order."""

    def __init__(
        self, scene: Scene, looks: Looks, rng: np.random.Generator, *, width: int, height: int
    ) -> None:
        """Paints the empty table once.

        Args:
            scene: what is where.
            looks: colours and shapes.
            rng: for texture and noise.
            width: pixels of a frame.
            height: pixels of a frame.
        """
        self._scene, self._looks = scene, looks
        self._width, self._height = width, height
        self._flip = -1.0 if looks.mirrored else 1.0
        scale = _DETAIL * height
        self._paint = np.array([[scale, 0.0, _HALF_W * scale], [0.0, scale, _HALF_H * scale]])
        back = [[1 / scale, 0.0, -_HALF_W], [0.0, 1 / scale, -_HALF_H], [0.0, 0.0, 1.0]]
        self._unpaint = np.array(back)
        self._table = self._paint_table(rng)
        self._canvas, self._canvas_key = padded(self._table), -1
        self._light = self._paint_light()
        noise = rng.normal(16.0, looks.noise, (_NOISES, height, width, 1))
        noise = noise + rng.normal(0.0, 0.5 * looks.noise, (_NOISES, height, width, 3))
        self._noise = np.clip(noise, 0, 40).astype(np.uint8)
        self._palms = {pose: sketch_palm(looks, pose) for pose in POSES}
        self._drawn: dict[tuple[object, ...], tuple[Shapes, Shapes | None]] = {}
        self._last: tuple[int, Moment] | None = None

    def frame(self, index: int) -> Image:
        """Returns frame `index`, (H, W, 3) uint8 RGB."""
        if self._last is None or self._last[0] != index - 1:
            self._last = (index - 1, self._scene.at(index - 1))
        before, moment = self._last[1], self._scene.at(index)
        self._last = (index, moment)
        if moment.still_key != self._canvas_key:
            self._set_table(moment)
        view = self._view(moment)
        image = warp(self._canvas, view @ self._unpaint, self._width, self._height)
        speed = max(
            abs(p[0] - q[0]) + abs(p[1] - q[1])
            for p, q in zip(moment.hands, before.hands, strict=True)
        )
        if speed > _BLUR_SPEED:
            ghost = image.copy()
            self._draw_live(Canvas(ghost, view), self._scene.at(index - 0.5))
            self._draw_live(Canvas(image, view), moment)
            image = blend(image, ghost)
        else:
            self._draw_live(Canvas(image, view), moment)
        dx = self._flip * (moment.camera[0] - before.camera[0]) * self._height
        dy = (moment.camera[1] - before.camera[1]) * self._height
        if math.hypot(dx, dy) > _SMEAR_PX:
            image = smear(image, dx, dy)
        lamp_on = any(t.noun == "lamp" and t.flags["on"] > 0.5 for t in moment.still + moment.live)
        gain = moment.gain * (1.12 if lamp_on else 1.0)
        return expose(image, self._light, gain, self._noise[index * 5 % _NOISES])

    def labels(self, index: int, width: int, height: int) -> Image:
        """Returns the label map of frame `index`, (height, width) uint8.

        0 is the table, i + 1 the i-th noun, HAND a hand or arm; ACTED_ON is added where the thing
        is the noun of the current action. Nearer things cover farther ones.
        """
        moment = self._scene.at(index)
        scale = np.array([[width / self._width], [height / self._height]])
        canvas = Canvas(np.zeros((height, width), np.uint8), self._view(moment) * scale, ink=0)
        for thing in (*moment.still, *moment.live):
            canvas.ink = 1 + NOUNS.index(thing.noun)
            if thing.noun == moment.acted_on:
                canvas.ink += ACTED_ON
            self._draw_thing(canvas, thing)
        canvas.ink = HAND
        for side in (0, 1):
            draw_hand(
                canvas, self._looks, self._palms, side, moment.hands[side], moment.poses[side]
            )
        return canvas.image

    def _view(self, moment: Moment) -> np.ndarray:
        """Returns the (2, 3) matrix from the table to the frame."""
        c, s = math.cos(moment.roll), math.sin(moment.roll)
        scale = moment.zoom * self._height
        turn = scale * np.array([[self._flip * c, -self._flip * s], [s, c]])
        middle = np.array([self._width / 2, self._height / 2])
        return np.column_stack([turn, middle - turn @ np.array(moment.camera)])

    def _set_table(self, moment: Moment) -> None:
        canvas = Canvas(self._table.copy(), self._paint)
        for thing in moment.still:
            self._draw_thing(canvas, thing)
        self._canvas, self._canvas_key = padded(canvas.image), moment.still_key

    def _draw_thing(self, canvas: Canvas, thing: Thing) -> None:
        look = self._looks.things[thing.noun]
        size = look.size * (1.0 + _LIFT_ZOOM * thing.lift)
        wide, high, off = SHADOWS.get(thing.noun, TALL_SHADOW)
        if off > _FLAT or thing.lift > 0.05:
            reach = 0.6 * off + 0.10 * thing.lift
            depth = 0.62 + 0.2 * min(thing.lift, 1.0)
            x, y = thing.x + reach, thing.y + off + 0.12 * thing.lift
            canvas.shade(x, y, wide * look.size, high * look.size, depth)
        body, loose = self._shapes_of(thing)
        canvas.print(body, thing.x, thing.y, thing.angle, size * look.aspect, size)
        if loose is not None and thing.flags["open"] > 0.5:  # lies where it was put
            canvas.print(loose, *thing.anchor, 0.0, look.size * look.aspect, look.size)
        elif loose is not None:
            canvas.print(loose, thing.x, thing.y, thing.angle, size * look.aspect, size)

    def _shapes_of(self, thing: Thing) -> tuple[Shapes, Shapes | None]:
        key = (thing.noun, *(round(_STEPS * value) for value in thing.flags.values()))
        if key not in self._drawn:
            flags = {flag: round(_STEPS * v) / _STEPS for flag, v in thing.flags.items()}
            look, body = self._looks.things[thing.noun], ShapeBuilder()
            DRAW[thing.noun](body, look, flags)
            loose = ShapeBuilder() if thing.noun in DRAW_LOOSE else None
            if loose is not None:
                DRAW_LOOSE[thing.noun](loose, look, flags)
            self._drawn[key] = (body.build(), None if loose is None else loose.build())
        return self._drawn[key]

    def _draw_live(self, canvas: Canvas, moment: Moment) -> None:
        for thing in moment.live:
            self._draw_thing(canvas, thing)
        if moment.stream is not None:
            x0, y0, x1, y1 = moment.stream
            canvas.line([(x0, y0), (x0 + 0.6 * (x1 - x0), y0 + 0.2 * (y1 - y0)), (x1, y1)], 0.016,
                       (120, 74, 40))  # fmt: skip
        for side in (0, 1):
            draw_hand(
                canvas, self._looks, self._palms, side, moment.hands[side], moment.poses[side]
            )

    def _paint_table(self, rng: np.random.Generator) -> Image:
        looks = self._looks
        width, height = (round(2 * half * self._paint[0, 0]) for half in (_HALF_W, _HALF_H))
        grain = {"wood": (60, 5), "stone": (40, 50), "checks": (18, 24), "plain": (4, 5)}
        rows, columns = grain[looks.table]
        pattern = enlarge(rng.random((rows, columns)), width, height)
        pattern = 0.7 * pattern + 0.3 * enlarge(rng.random((rows * 4, columns * 3)), width, height)
        if looks.table == "checks":
            y, x = np.mgrid[:height, :width] * (9.0 / self._paint[0, 0])
            pattern = 0.75 * ((x.astype(int) + y.astype(int)) % 2) + 0.25 * pattern
        u = np.clip(pattern, 0.0, 1.0)[:, :, None]
        table = np.array(looks.table_color) * (1 - u) + np.array(looks.table_accent) * u
        image = np.clip(table, 0, 255).astype(np.uint8)
        canvas = Canvas(image, self._paint)
        edge = ShapeBuilder()
        edge.box(-2.0, -2.0, 2.0, -0.62, mix(looks.table_accent, (20, 20, 26), 0.65))
        canvas.print(edge.build(), 0.0, 0.0)
        for x, y, size, angle, color in looks.clutter:
            builder = ShapeBuilder()
            if size < 0.035:
                builder.disc(0.0, 0.0, size, size * 0.8, color)
            else:
                builder.box(-1.4 * size, -0.7 * size, 1.4 * size, 0.7 * size, color)
            canvas.print(builder.build(), x, y, angle)
        return image

    def _paint_light(self) -> Image:
        y, x = np.mgrid[: self._height, : self._width]
        far = ((x / self._width - 0.45) ** 2 + (y / self._height - 0.45) ** 2) * 2.0
        light = (1.0 - self._looks.vignette * far)[:, :, None] * np.array(self._looks.tint)
        result: Image = np.clip(light, 0, 255).astype(np.uint8)
        return result
