"""Comparison of two folders of features: python -m extract.dataset.compare A B.

To check against released features: extract videos that the release has, then compare. A row is one
window. Prints JSON, one line a video and one for all. Exit status: 0 within the tolerances,
3 not, 1 nothing to compare, 2 wrong arguments.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn import functional as F

from extract.errors import FeatureFileInvalid
from extract.features.store import FeatureStore
from weights.storage.folders import Place, as_place

MIN_COSINE = 0.999
"""As for networks in reduced precision."""


@dataclass(frozen=True)
class Difference:
    """Difference of two tracks of one video.

    Attributes:
        video: its id.
        rows: windows that both have.
        rows_a: windows of the first.
        rows_b: windows of the second; one more or less where lengths differ.
        cosine_min: least over rows.
        cosine_mean: over rows.
        max_abs: greatest absolute difference.
        worst_row: row of `cosine_min`.
    """

    video: str
    rows: int
    rows_a: int
    rows_b: int
    cosine_min: float
    cosine_mean: float
    max_abs: float
    worst_row: int


class _Options(argparse.Namespace):
    a: Place
    b: Place
    min_cosine: float
    max_abs: float


def compare_tracks(video: str, a: torch.Tensor, b: torch.Tensor) -> Difference:
    """Returns the difference of two tracks' rows, (L, D_in) each; lengths may differ.

    Raises:
        ValueError: their widths differ, or a number is not finite.
    """
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{video}: rows of {a.shape[1]} and of {b.shape[1]} numbers")
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError(f"{video}: holds values that are not finite")
    rows = min(len(a), len(b))
    a_rows, b_rows = a[:rows].double(), b[:rows].double()
    cosine = F.cosine_similarity(a_rows, b_rows, dim=1)
    return Difference(
        video=video,
        rows=rows,
        rows_a=len(a),
        rows_b=len(b),
        cosine_min=float(cosine.min()),
        cosine_mean=float(cosine.mean()),
        max_abs=float((a_rows - b_rows).abs().max()),
        worst_row=int(cosine.argmin()),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parse(arguments)
    a, b = FeatureStore(options.a), FeatureStore(options.b)
    videos = sorted(set(a.video_ids()) & set(b.video_ids()))
    found, is_sound = [], True
    for video in videos:
        try:
            rows = a.read_rows(video).features, b.read_rows(video).features
            found.append(compare_tracks(video, *rows))
            print(json.dumps(asdict(found[-1])))
        except (FeatureFileInvalid, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            is_sound = False
    if not found:
        print(f"error: {options.a} and {options.b} have no video to compare", file=sys.stderr)
        return 1
    summary = _summary(found)
    print(json.dumps(summary))
    within = summary["cosine_min"] >= options.min_cosine and summary["max_abs"] <= options.max_abs
    return 0 if is_sound and within and not summary["other_lengths"] else 3


def _summary(found: Sequence[Difference]) -> dict[str, Any]:
    least = min(found, key=lambda one: one.cosine_min)
    greatest = max(found, key=lambda one: one.max_abs)
    return {
        "videos": len(found),
        "rows": sum(one.rows for one in found),
        "cosine_min": least.cosine_min,
        "cosine_min_at": [least.video, least.worst_row],
        "max_abs": greatest.max_abs,
        "max_abs_in": greatest.video,
        "other_lengths": [one.video for one in found if one.rows_a != one.rows_b],
    }


def _parse(arguments: Sequence[str] | None) -> _Options:
    parser = argparse.ArgumentParser(
        prog="python -m extract.dataset.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", type=as_place, metavar="A", help="folder or URL of feature files")
    parser.add_argument("b", type=as_place, metavar="B", help="folder or URL to compare with")
    parser.add_argument(
        "--min-cosine",
        type=float,
        default=MIN_COSINE,
        help="least cosine of two rows (default: %(default)s)",
    )
    parser.add_argument(
        "--max-abs",
        type=float,
        default=float("inf"),
        help="greatest absolute difference of two numbers (default: no limit)",
    )
    return parser.parse_args(arguments, namespace=_Options())


if __name__ == "__main__":
    raise SystemExit(main())
