"""Polygons, lines and image arithmetic on RGB arrays, with OpenCV."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

Image = np.ndarray  # (H, W, 3) uint8, RGB
Color = tuple[float, float, float]
XY = tuple[float, float]
Points = np.ndarray | Sequence[XY]

_SHIFT = 4  # cv2 takes coordinates in sixteenths of a pixel
_CIRCLE = np.stack([np.cos(a := np.linspace(0, 2 * math.pi, 20, endpoint=False)), np.sin(a)], 1)


def use_one_thread() -> None:
    """Keeps cv2 from starting threads of its own in this process."""
    cv2.setNumThreads(1)


@dataclass(frozen=True)
class Shapes:
    """Polygons and lines in local coordinates, built once and drawn anywhere.

    Attributes:
        points: (N, 2), of all shapes one after the other.
        shapes: per shape: first point, point after the last, line width or 0, colour.
    """

    points: np.ndarray
    shapes: tuple[tuple[int, int, float, Color], ...]


class ShapeBuilder:
    """Collects shapes."""

    def __init__(self) -> None:
        self._points: list[np.ndarray] = []
        self._shapes: list[tuple[int, int, float, Color]] = []
        self._count = 0

    def build(self) -> Shapes:
        """Returns the shapes so far."""
        points = np.concatenate(self._points) if self._points else np.zeros((0, 2))
        return Shapes(points, tuple(self._shapes))

    def _add(self, points: Points, width: float, color: Color) -> None:
        array = np.asarray(points, dtype=np.float64)
        self._points.append(array)
        self._shapes.append((self._count, self._count + len(array), width, color))
        self._count += len(array)

    def poly(self, points: Points, color: Color) -> None:
        """Fills a polygon of (N, 2) points."""
        self._add(points, 0.0, color)

    def disc(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        """Fills an ellipse."""
        self._add(_CIRCLE * (rx, ry) + (x, y), 0.0, color)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        """Fills an upright rectangle."""
        self._add([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], 0.0, color)

    def line(self, points: Points, width: float, color: Color) -> None:
        """Draws a round-ended line through the points."""
        self._add(points, width, color)


class Canvas:
    """Draws shapes on an image, in place.

    Attributes:
        image: to draw on.
        ink: None draws in the shapes' own colours; a number draws everything in that value, with
            hard edges and no shade, on an image of one channel.
    """

    def __init__(self, image: Image, matrix: np.ndarray, ink: int | None = None) -> None:
        """Takes the (2, 3) matrix from table coordinates to pixels."""
        self.image, self.ink = image, ink
        self._cells = (matrix * (1 << _SHIFT)).tolist()
        (a, b, _), (c, d, _) = matrix.tolist()
        self._scale = math.sqrt(abs(a * d - b * c))

    def print(
        self, shapes: Shapes, x: float, y: float, angle: float = 0.0, sx: float = 1.0,
        sy: float = 1.0,
    ) -> None:  # fmt: skip
        """Draws shapes with their origin at (x, y), turned and scaled."""
        cos, sin = math.cos(angle), math.sin(angle)
        (a, b, e), (c, d, f) = self._cells
        p, q, r, s = cos * sx, -sin * sy, sin * sx, cos * sy
        turn = np.array([[a * p + b * r, c * p + d * r], [a * q + b * s, c * q + d * s]])
        pixels = shapes.points @ turn
        pixels += (a * x + b * y + e, c * x + d * y + f)
        corners = pixels.astype(np.int32)
        scale = self._scale * abs(sx * sy) ** 0.5
        for start, stop, width, color in shapes.shapes:
            if width:
                self._draw_line(corners[start:stop], width * scale, color)
            elif self.ink is None:
                cv2.fillPoly(self.image, [corners[start:stop]], color, cv2.LINE_AA, _SHIFT)
            else:
                cv2.fillPoly(self.image, [corners[start:stop]], self.ink, cv2.LINE_8, _SHIFT)

    def _draw_line(self, pixels: np.ndarray, width: float, color: Color) -> None:
        ink, edge = (color, cv2.LINE_AA) if self.ink is None else (self.ink, cv2.LINE_8)
        cv2.polylines(self.image, [pixels], False, ink, max(1, round(width)), edge, _SHIFT)

    def _to_pixels(self, points: Points) -> np.ndarray:
        (a, b, e), (c, d, f) = self._cells
        pixels = [(a * x + b * y + e, c * x + d * y + f) for x, y in points]
        return np.array(pixels).astype(np.int32)

    def line(self, points: list[XY], width: float, color: Color) -> None:
        """Draws a round-ended line through the points."""
        self._draw_line(self._to_pixels(points), width * self._scale, color)

    def is_below(self, x: float, y: float, margin: float) -> bool:
        """Whether a point lies further than a margin below the image."""
        c, d, f = self._cells[1]
        below = (c * x + d * y + f) / (1 << _SHIFT) - self.image.shape[0]
        return bool(below > margin * self._scale)

    def shade(self, x: float, y: float, rx: float, ry: float, factor: float) -> None:
        """Multiplies an ellipse by a factor, softly at its rim."""
        if self.ink is not None:
            return
        (a, b, e), (c, d, f) = self._cells
        turn = np.array([[a * rx, c * rx], [b * ry, d * ry]])
        middle = (a * x + b * y + e, c * x + d * y + f)
        pixels = (_CIRCLE @ turn + middle).astype(np.int32)
        (left, top), (right, bottom) = pixels.min(0).tolist(), pixels.max(0).tolist()
        height, width = self.image.shape[:2]
        x0, y0 = max(left // 16 - 2, 0), max(top // 16 - 2, 0)
        x1, y1 = min(right // 16 + 3, width), min(bottom // 16 + 3, height)
        if x1 <= x0 or y1 <= y0:
            return
        mask = np.full((y1 - y0, x1 - x0, 3), 255, np.uint8)
        level = (255.0 * factor,) * 3
        cv2.fillPoly(mask, [pixels - (x0 * 16, y0 * 16)], level, cv2.LINE_AA, _SHIFT)
        cv2.blur(mask, (3, 3), dst=mask)
        patch = self.image[y0:y1, x0:x1]
        cv2.multiply(patch, mask, dst=patch, scale=1.0 / 255.0)


def padded(image: Image) -> Image:
    """Returns the image with a fourth channel, as `warp` takes it."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA))


def warp(image: Image, matrix: np.ndarray, width: int, height: int) -> Image:
    """Returns a `padded` image moved by a (2, 3) matrix of pixels to pixels, (height, width, 3).

    OpenCV moves four channels more than twice as fast as three, to the same values.
    """
    moved = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB))


def blend(p: Image, q: Image) -> Image:
    """Returns the mean of two images."""
    return np.asarray(cv2.addWeighted(p, 0.5, q, 0.5, 0.0))


def smear(image: Image, dx: float, dy: float) -> Image:
    """Returns the image blurred along (dx, dy) pixels, as a moving camera would."""
    length = min(math.ceil(math.hypot(dx, dy)), 15) | 1
    kernel = np.zeros((length, length), np.float32)
    middle, reach = length // 2, length / 2 / max(abs(dx), abs(dy), 1e-6)
    start = (round(middle - dx * reach), round(middle - dy * reach))
    stop = (round(middle + dx * reach), round(middle + dy * reach))
    cv2.line(kernel, start, stop, 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))


def expose(image: Image, light: Image, gain: float, noise: Image) -> Image:
    """Returns the image under a light map, with sensor noise around grey level 16 taken off."""
    lit = cv2.multiply(image, light, scale=gain / 255.0)
    cv2.add(lit, noise, dst=lit)
    return np.asarray(cv2.subtract(lit, (16.0, 16.0, 16.0, 0.0)))


def enlarge(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Returns the array resized smoothly."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC))


def shrink(image: Image, width: int, height: int) -> Image:
    """Returns the image resized by averaging areas, as a good reader would."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def to_yuv(image: Image) -> np.ndarray:
    """Returns (3H/2, W) planar YUV 4:2:0, BT.601 limited range."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420))


def write_text(image: Image, text: str, x: int, y: int, *, size: float) -> None:
    """Writes dark text with its baseline at (x, y)."""
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 20), 1, cv2.LINE_AA)


def save_picture(image: Image, path: Path, *, quality: int = 85) -> None:
    """Writes a JPEG or PNG, by the file's suffix.

    Raises:
        OSError: the file cannot be written.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix in (".jpg", ".jpeg") else []
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options):
        raise OSError(f"cannot write {path}")
