"""Consistency checks over the rows of an annotation file: one error or warning per check."""

import logging
from collections.abc import Mapping, Sequence

from model.data.json_rows import Row
from weights.authors.taxonomy import is_name

logger = logging.getLogger(__name__)

FPS = 30
"""Frame rate of canonical videos."""

CLOCK_TOLERANCE_FRAMES = 3
"""Late stream starts (0.02 s) and rounding account for two frames, not four."""


def check_names(rows: Sequence[Row], spaces: Mapping[str, Sequence[str]]) -> None:
    """Refuses labels whose text in the row is not the taxonomy's name of their id.

    Text is compared without its synonyms in parentheses; a row without text, or without a label,
    is not compared.

    Args:
        rows: actions whose labels lie in the taxonomy.
        spaces: "verb" and "noun" -> names by id.

    Raises:
        AnnotationInvalid: a row's text is another label's; names the first such row.
    """
    wrong = [
        (row, space, label)
        for row in rows
        for space, names in spaces.items()
        if (label := row.label(f"{space}_label", len(names))) is not None
        and row.values.get(space) is not None
        and not is_name(row.values[space], names[label])
    ]
    if wrong:
        row, space, label = wrong[0]
        raise row.error(
            space,
            f"{spaces[space][label]!r}, the taxonomy's name of {space}_label {label}",
            row.values[space],
            f"{len({row.position for row, *_ in wrong})} of {len(rows)} rows do not agree with "
            "fho_lta_taxonomy.json: take both files from the same release",
        )


def warn_unlabelled(rows: Sequence[Row], *names: str) -> None:
    """Warns of null labels, which are excluded from training and metrics."""
    for name in names:
        hidden = [row for row in rows if row.values.get(name) is None]
        if hidden:
            _warn(rows, hidden, f"have no {name}, and are left out of whatever needs it")


def warn_repeated(rows: Sequence[Row], name: str, outcome: str) -> None:
    """Warns of rows that repeat the id of an earlier one, with the outcome for them."""
    first: dict[str, Row] = {}
    again = [row for row in rows if first.setdefault(row.text(name), row) is not row]
    same = sum(row.values == first[row.text(name)].values for row in again)
    if again:
        finding = f"repeat the {name} of an earlier row, {same} of them word for word: {outcome}"
        _warn(rows, again, finding)


def warn_without_keyframe(rows: Sequence[Row], without: Sequence[Row]) -> None:
    """Warns of positives without a keyframe inside their segment, which PNR leaves out."""
    if without:
        found = {name: without[0].values.get(name) for name in ("parent_pnr_frame", "pnr_frame")}
        bounds = "{parent_start_frame} to {parent_end_frame}".format_map(without[0].values)
        finding = "have a change of state and no keyframe inside their segment; PNR leaves them out"
        _warn(rows, without, finding, f": expected a frame from {bounds}, got {found}")


def warn_of_clocks(rows: Sequence[Row], prefix: str) -> None:
    """Warns of seconds that disagree with frames by more than the tolerance."""
    apart = []
    for row in rows:
        for bound in (f"{prefix}_start", f"{prefix}_end"):
            if row.values.get(f"{bound}_sec") is None:
                continue
            shift = row.number(f"{bound}_sec") * FPS - row.whole(f"{bound}_frame")
            if abs(shift) > CLOCK_TOLERANCE_FRAMES:
                apart.append(row)
                break
    if apart:
        frames = CLOCK_TOLERANCE_FRAMES
        _warn(rows, apart, f"have seconds and frames more than {frames} frames apart; frames count")


def _warn(rows: Sequence[Row], which: Sequence[Row], finding: str, detail: str = "") -> None:
    count, total, first = len(which), len(rows), which[0]
    logger.warning("%d of %d rows %s. The first: %s%s", count, total, finding, first, detail)
