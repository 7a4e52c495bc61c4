"""Small tables for tests, from one line a row."""

from model.data.tables.table import Segment, SegmentTable


def table_of(*rows, outputs=("verb",), **facts):
    """Rows are (video, start, end, label of each output)."""
    segments = [
        Segment(video, start, end, tuple(labels), "labels.csv", line)
        for line, (video, start, end, *labels) in enumerate(rows, 2)
    ]
    return SegmentTable.from_segments("labels.csv", outputs, segments, **facts)
