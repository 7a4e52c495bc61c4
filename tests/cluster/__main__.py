"""python -m tests.cluster: extract and score many clips while machines of the cluster die.

Writes clips, runs both commands with either engine, ends all processes of one of two workers in the
middle of each run on the cluster, and compares what was written byte for byte.
Exit status: 0 the same, 1 not.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from tests.cluster.nodes import cluster
from tests.cluster.runs import BUNDLE, Run, features_in, verdicts
from tests.extract.support.clips import write_numbered
from tests.model.support.challenge import write_clips

SHORTEST, LONGEST = 20, 100  # frames


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--spare", action="store_true", help="end no worker, to compare times")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_set(work, arguments.clips)
        extracted = extract(work, is_spared=arguments.spare)
        scored = score(work, is_spared=arguments.spare)
    sys.stdout.write(json.dumps({"extracted": extracted, "scored": scored}, indent=1) + "\n")
    return 0 if extracted["same"] and scored["same"] else 1


def make_set(work: Path, count: int) -> None:
    """Writes clips, one broken file, and a test file that asks for the whole of each clip."""
    (work / "videos").mkdir()
    rows = []
    for number in range(count):
        length = SHORTEST + 37 * number % (LONGEST - SHORTEST)
        write_numbered(work / "videos" / f"clip-{number}.mp4", length)
        rows.append({
            "unique_id": f"change-{number}", "video_uid": f"clip-{number}",
            "parent_start_frame": 0, "parent_end_frame": length,
            "parent_start_sec": 0.0, "parent_end_sec": length / 30,
        })  # fmt: skip
    (work / "videos" / "broken.mp4").write_bytes(b"nothing")
    write_clips(work / "annotations" / "fho_oscc-pnr_test_unannotated.json", rows)


def extract(work: Path, *, is_spared: bool) -> dict[str, object]:
    """Runs the first pass with both engines."""

    def start(engine: str, *more: str, **environment: str) -> Run:
        out = ["--out", work / engine, "--encoder", BUNDLE, "--engine", engine]
        return Run("extract", work / "videos", *out, *more, environment=environment)

    def is_half_done() -> bool:
        return len(features_in(work / "ray")) >= len(features_in(work / "local")) // 2

    figures = _both(start, lambda: is_spared or is_half_done(), status=3, is_spared=is_spared)
    files = features_in(work / "local")
    same = files == features_in(work / "ray")
    same = same and verdicts(work / "local") == verdicts(work / "ray")
    return {"same": same, "files": len(files), **figures}


def score(work: Path, *, is_spared: bool) -> dict[str, object]:
    """Runs the second pass with both engines, on the features that the local one made."""

    def start(engine: str, *more: str, **environment: str) -> Run:
        given = ["--annotations", work / "annotations", "--features", work / "local"]
        asked = ["--bundle", BUNDLE, "--tasks", "oscc,pnr", "--engine", engine]
        out = ["--out", work / f"scored-{engine}", "--device", "cpu"]
        return Run("model.score", *given, *asked, *out, *more, environment=environment)

    def has_begun() -> bool:
        part = work / "scored-ray" / "parts" / "oscc.jsonl"
        return part.exists() and part.read_bytes().count(b"\n") > 20

    figures = _both(start, has_begun, status=0, is_spared=is_spared)
    names = ("oscc.json", "pnr.json")
    mine, theirs = (
        [(work / f"scored-{e}" / name).read_bytes() for name in names] for e in ("local", "ray")
    )
    return {"same": mine == theirs, "files": len(names), **figures}


def _both(
    start: Callable[..., Run], is_time: Callable[[], bool], *, status: int, is_spared: bool
) -> dict[str, object]:
    """Runs a command here and on a cluster, where a worker ends when it is time."""
    figures: dict[str, object] = {}
    for engine in ("local", "ray"):
        with cluster(workers=2) if engine == "ray" else nullcontext() as nodes:
            asked = ["--address", nodes.address] if nodes else []
            started = time.monotonic()
            run = start(engine, *asked, **(nodes.environment if nodes else {}))
            if nodes and not is_spared:
                run.wait_for(is_time)
                nodes.workers[0].kill()
                figures["killed_after_s"] = round(time.monotonic() - started, 1)
            code, _, said = run.end()
            figures[f"{engine}_s"] = round(time.monotonic() - started, 1)
            if code != status:
                raise SystemExit(f"{engine}: ended with {code}, expected {status}\n{said}")
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
