"""Random training crops of 5 to 8 s around a PNR keyframe, against centre bias."""

from typing import Literal

import torch
from torch import Tensor

from model.data.row_checks import FPS

CropRule = Literal["uniform", "ego4d"]

SHORTEST_S = 5.0
LONGEST_S = 8.0


def crop_segments(
    segments: Tensor, keyframe: Tensor, rule: CropRule, generator: torch.Generator
) -> Tensor:
    """Returns random crops of segments that contain their keyframes, (G, 1, 2) frames.

    Args:
        segments: (G, 1, 2) first frame and frame after the last.
        keyframe: (G,) float64 frames; NaN where unknown, which leaves the segment whole.
        rule: "uniform" samples among all crops with the keyframe; "ego4d" as its loader does.
        generator: of lengths and offsets.
    """
    start, end = segments[:, 0].double().unbind(-1)
    draws = torch.rand(len(segments), 2, generator=generator, dtype=torch.float64)
    cut = _uniform if rule == "uniform" else _ego4d
    crop = torch.stack(cut(start, end, keyframe, draws), dim=-1)
    is_known = ~keyframe.isnan().unsqueeze(-1)
    return torch.where(is_known, crop, segments[:, 0]).long().unsqueeze(1)


def _uniform(start: Tensor, end: Tensor, keyframe: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    whole = end - start
    shortest = whole.clamp(max=SHORTEST_S * FPS)
    length = shortest + draws[:, 0] * (whole - shortest)
    low = torch.maximum(start, keyframe + 1 - length)
    high = torch.minimum(end - length, keyframe)
    first = (low + draws[:, 1] * (high - low).clamp(min=0)).floor()
    return first, torch.minimum((first + length).ceil(), end)


def _ego4d(start: Tensor, end: Tensor, keyframe: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """The loader's offset lies between 8 - length and 1 s, not between 0 and 8 - length.

    So a crop may begin late and end at the segment's end; a side that cuts the keyframe off
    returns to the segment's bound.
    """
    length_s = SHORTEST_S + draws[:, 0] * (LONGEST_S - SHORTEST_S)
    spare_s = LONGEST_S - length_s
    offset_s = spare_s + draws[:, 1] * (1.0 - spare_s)
    first = start + (offset_s * FPS).floor()
    after = torch.minimum(start + ((offset_s + length_s) * FPS).floor(), end)
    return (
        torch.where(first > keyframe, start, first),
        torch.where(after <= keyframe, end, after),
    )
