"""How far annotations go in each video: what features of it must reach."""

from collections.abc import Iterable

from extract.features.track_check import Annotated
from model.data.records import ActionRecord, ChangeRecord, SplitRecords


def annotated_in(records: SplitRecords) -> dict[str, Annotated]:
    """Returns the videos that annotations speak of, sorted, and how far they go in each."""
    every: list[ActionRecord | ChangeRecord] = [*records.actions, *records.changes]
    return farthest(
        (r.video_uid, Annotated(r.start_frame, r.end_frame, _name_of(r))) for r in every
    )


def farthest(segments: Iterable[tuple[str, Annotated]]) -> dict[str, Annotated]:
    """Returns how far the segments of each video go together, from (video, segment); sorted."""
    found: dict[str, Annotated] = {}
    for video, segment in segments:
        known = found.get(video)
        if known is None or segment.start_frame > known.start_frame:
            end = max(segment.end_frame, known.end_frame) if known else segment.end_frame
            found[video] = Annotated(segment.start_frame, end, segment.where)
        elif segment.end_frame > known.end_frame:
            found[video] = Annotated(known.start_frame, segment.end_frame, known.where)
    return dict(sorted(found.items()))


def _name_of(record: ActionRecord | ChangeRecord) -> str:
    if isinstance(record, ActionRecord):
        return f"action_idx {record.action_idx} of clip_uid {record.clip_uid}"
    return f"unique_id {record.unique_id}"
