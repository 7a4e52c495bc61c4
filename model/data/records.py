"""Records of annotation rows, in frames of the full video.

Action windows are stored relative to their canonical clip and become absolute here. Frame fields
are authoritative; seconds are on the container's clock, which starts a little before the first
frame in many videos.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from extract.features.track_check import Annotated
from model.data.json_rows import Row
from model.data.row_checks import warn_repeated


@dataclass(frozen=True)
class ActionRecord:
    """One annotated action window of `fho_lta_*.json`.

    Attributes:
        start_frame: first frame, counted in the full video.
        end_frame: frame after the last one.
        verb: taxonomy position, None where labels are hidden.
        noun: taxonomy position, None where labels are hidden.
    """

    video_uid: str
    clip_uid: str
    action_idx: int
    start_frame: int
    end_frame: int
    verb: int | None
    noun: int | None


@dataclass(frozen=True)
class ChangeRecord:
    """One segment of `fho_oscc-pnr_*.json`.

    Attributes:
        start_frame: first frame, counted in the full video.
        end_frame: frame after the last one.
        start_s: the same bound in seconds, as annotated.
        end_s: the same bound in seconds, as annotated.
        state_change: the OSCC label, None where hidden.
        pnr_frame: keyframe in the full video, inside the segment; None on negatives, where hidden,
            and on positives without one inside their segment.
    """

    unique_id: str
    video_uid: str
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    state_change: bool | None
    pnr_frame: int | None


@dataclass(frozen=True)
class SplitRecords:
    """Records of one split.

    Attributes:
        tasks: for which files were read.
        actions: empty if no task needs them.
        changes: empty if no task needs them.
    """

    tasks: tuple[str, ...]
    actions: list[ActionRecord]
    changes: list[ChangeRecord]

    @property
    def videos(self) -> list[str]:
        """The annotated videos, sorted."""
        videos = {record.video_uid for record in self.actions}
        return sorted(videos | {record.video_uid for record in self.changes})

    def without(self, videos: Collection[str]) -> "SplitRecords":
        """Returns the records of other videos."""
        return replace(
            self,
            actions=[record for record in self.actions if record.video_uid not in videos],
            changes=[record for record in self.changes if record.video_uid not in videos],
        )


def annotated_in(records: SplitRecords) -> dict[str, Annotated]:
    """Returns the annotated extent of each video, sorted by video: features must cover it."""
    segments = [
        (
            r.video_uid,
            Annotated(
                r.start_frame, r.end_frame, f"action_idx {r.action_idx} of clip_uid {r.clip_uid}"
            ),
        )
        for r in records.actions
    ]
    segments += [
        (r.video_uid, Annotated(r.start_frame, r.end_frame, f"unique_id {r.unique_id}"))
        for r in records.changes
    ]
    return farthest(segments)


def farthest(segments: Iterable[tuple[str, Annotated]]) -> dict[str, Annotated]:
    """Returns the latest start and the latest end of each video's segments, sorted by video."""
    found: dict[str, Annotated] = {}
    for video, segment in segments:
        known = found.setdefault(video, segment)
        last = segment if segment.start_frame > known.start_frame else known
        found[video] = replace(last, end_frame=max(segment.end_frame, known.end_frame))
    return dict(sorted(found.items()))


def group_by_clip(actions: list[ActionRecord]) -> Iterator[list[int]]:
    """Yields the positions of each clip's actions, in action order."""
    groups: dict[str, list[int]] = {}
    for position, record in enumerate(actions):
        groups.setdefault(record.clip_uid, []).append(position)
    for positions in groups.values():
        yield sorted(positions, key=lambda p: actions[p].action_idx)


def read_action(row: Row, spaces: Mapping[str, Sequence[str]] | None) -> ActionRecord:
    """Returns a row's action; without label spaces, its labels are hidden.

    Raises:
        AnnotationInvalid: a field is missing or wrong, or a label is not in its space.
    """
    clip_start = row.whole("clip_parent_start_frame")
    start, end = _bounds(row, "action_clip")
    return ActionRecord(
        video_uid=row.text("video_uid"),
        clip_uid=row.text("clip_uid"),
        action_idx=row.whole("action_idx"),
        start_frame=clip_start + start,
        end_frame=clip_start + end,
        verb=row.label("verb_label", len(spaces["verb"])) if spaces else None,
        noun=row.label("noun_label", len(spaces["noun"])) if spaces else None,
    )


def read_change(row: Row, *, is_labelled: bool) -> ChangeRecord:
    """Returns a row's OSCC and PNR segment.

    Raises:
        AnnotationInvalid: a field is missing or wrong.
    """
    start, end = _bounds(row, "parent")
    state_change = row.flag("state_change") if is_labelled else None
    start_s, end_s = row.number("parent_start_sec"), row.number("parent_end_sec")
    if end_s <= start_s:
        raise row.error("parent_end_sec", f"a time after the start, {start_s}", end_s)
    return ChangeRecord(
        unique_id=row.text("unique_id"),
        video_uid=row.text("video_uid"),
        start_frame=start,
        end_frame=end,
        start_s=start_s,
        end_s=end_s,
        state_change=state_change,
        pnr_frame=_keyframe(row, start, end) if state_change else None,
    )


def _keyframe(row: Row, start: int, end: int) -> int | None:
    """A positive's keyframe if it lies in the segment; some rows name it `pnr_frame`."""
    names = ("parent_pnr_frame", "pnr_frame")  # in the official loader's order
    found = [row.whole(name) for name in names if row.values.get(name) is not None]
    return found[0] if found and start <= found[0] <= end else None


def each_once(rows: Sequence[Row], records: Sequence[ChangeRecord]) -> list[ChangeRecord]:
    """Returns the segments without repetitions, and warns of those.

    Raises:
        AnnotationInvalid: two segments share an id.
    """
    first: dict[str, tuple[Row, ChangeRecord]] = {}
    for row, record in zip(rows, records, strict=True):
        earlier, same = first.setdefault(record.unique_id, (row, record))
        if same != record:
            other = f"another than row {earlier.position}'s, whose segment is another"
            raise row.error("unique_id", other, record.unique_id)
    warn_repeated(rows, "unique_id", "each segment is asked for once")
    return [record for _, record in first.values()]


def _bounds(row: Row, prefix: str) -> tuple[int, int]:
    start, end = row.whole(f"{prefix}_start_frame"), row.whole(f"{prefix}_end_frame")
    if end <= start:
        raise row.error(f"{prefix}_end_frame", f"a frame after the start, {start}", end)
    return start, end
