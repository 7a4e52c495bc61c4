"""CVAT's export: stretches of tracks or of frames with one tag, in seconds by a given rate."""

import zipfile

import pytest

from model.data.tables.kinds import load_table
from model.errors import AnnotationInvalid

META = "<meta><task><name>day 1</name><source>Küche 1.MP4</source></task></meta>"


def shape(frame, outside=0, **attributes):
    inner = "".join(f'<attribute name="{n}">{v}</attribute>' for n, v in attributes.items())
    return f'<box frame="{frame}" outside="{outside}" xtl="0" ytl="0">{inner}</box>'


def track(*shapes, label="hand", number=0):
    return f'<track id="{number}" label="{label}">{"".join(shapes)}</track>'


def image(frame, *tags):
    inner = "".join(f'<tag label="{tag}" source="manual"></tag>' for tag in tags)
    return f'<image id="{frame}" name="frame_{frame:06}">{inner}</image>'


def written(tmp_path, *elements, meta=META):
    path = tmp_path / "annotations.xml"
    text = f"<annotations><version>1.1</version>{meta}{''.join(elements)}</annotations>"
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}', encoding="utf-8")
    return path


def rows(path, fps=10.0):
    table = load_table(f"cvat:{path}", fps=fps)
    times = table.start_s.tolist(), table.end_s.tolist()
    return list(zip(*times, *table.labels.values(), strict=True))


def test_a_track_lasts_until_it_is_outside_and_is_cut_where_its_attributes_change(tmp_path):
    path = written(
        tmp_path,
        track(shape(0, verb="cut"), shape(5, verb="cut"), shape(8, verb="wash"), shape(20, 1)),
        track(shape(30, verb="cut"), shape(31, verb="cut"), number=1, label="foot"),
        track(shape(50), shape(50), shape(40), shape(45, 1), number=2),
    )
    assert rows(path) == [
        (0, 0.8, "hand", "cut"),
        (0.8, 2, "hand", "wash"),
        (3, 3.2, "foot", "cut"),
        (4, 4.5, "hand", None),
        (5, 5.1, "hand", None),
    ]
    table = load_table(f"cvat:{path}", fps=10.0)
    assert (table.outputs, table.videos) == (("label", "verb"), ("Küche 1",))
    assert table.where(2) == f"{path}, track 1"


def test_frames_with_one_tag_after_another_are_a_stretch(tmp_path):
    images = [image(f, *t) for f, t in [(0, "a"), (1, "ab"), (2, "b"), (4, "b"), (5, ""), (7, "a")]]
    path = written(tmp_path, *images)
    assert rows(path) == [(0, 0.2, "a"), (0.1, 0.3, "b"), (0.4, 0.5, "b"), (0.7, 0.8, "a")]


def test_skipped_frames_are_part_of_a_stretch(tmp_path):
    meta = META.replace("</task>", "<frame_filter>step=3</frame_filter></task>")
    assert rows(written(tmp_path, image(0, "a"), image(3, "a"), image(9, "a"), meta=meta)) == [
        (0, 0.6, "a"),
        (0.9, 1.2, "a"),
    ]


def test_an_archive_is_read_as_it_is(tmp_path):
    path = written(tmp_path, track(shape(0), shape(5, 1)))
    archive = tmp_path / "task.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, "annotations.xml")
    assert rows(archive) == rows(path) == [(0, 0.5, "hand")]
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("other.txt", "x")
    with pytest.raises(AnnotationInvalid, match=r"expected one annotations\.xml .*found 0"):
        rows(archive)
    archive.write_bytes(b"no archive")
    with pytest.raises(AnnotationInvalid, match="cannot be read"):
        rows(archive)


@pytest.mark.parametrize(
    ("elements", "meta", "said"),
    [
        ([track(shape("x"))], META, "track 0, frame: expected a frame's number, got 'x'"),
        ([image(-1, "a")], META, "image -1, id: expected a frame's number, got '-1'"),
        ([track(shape(0, label="x"))], META, "an attribute is called 'label'"),
        ([track(shape(0))], "<meta><project></project></meta>", "export its tasks one by one"),
        ([track(shape(0))], "<meta><task></task></meta>", "meta names no source"),
        ([track(shape(0)), track(shape(0), number=1)], META, "track 1: repeats "),
        (["<track>"], META, "line 2: not XML: mismatched tag"),
        ([], META, "no row has a segment"),
    ],
)
def test_what_is_wrong_is_named_by_its_entry(tmp_path, elements, meta, said):
    path = written(tmp_path, *elements, meta=meta)
    with pytest.raises(AnnotationInvalid) as error:
        rows(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_the_rate_is_needed(tmp_path):
    with pytest.raises(AnnotationInvalid, match="give the videos' rate with --fps"):
        load_table(f"cvat:{written(tmp_path, track(shape(0)))}")


def test_a_folder_has_an_export_for_each_video(tmp_path):
    with pytest.raises(AnnotationInvalid, match=r"expected exports of CVAT in it"):
        rows(tmp_path)
    for name in ("b", "a"):
        meta = META.replace("Küche 1", f"day {name}")
        path = written(tmp_path, track(shape(0, hand="left"), shape(5, 1)), meta=meta)
        path.rename(tmp_path / f"{name}.xml")
    written(tmp_path, image(3, "cut")).rename(tmp_path / "C.XML")
    (tmp_path / "notes.txt").touch()
    table = load_table(f"cvat:{tmp_path}", fps=10.0)
    assert table.video == ("Küche 1", "day a", "day b")
    assert table.labels == {"label": ("cut", "hand", "hand"), "hand": (None, "left", "left")}
    assert table.where(1) == f"{tmp_path / 'a.xml'}, track 0"
    (tmp_path / "d.xml").write_text("<annotations></annotations>")
    (tmp_path / "a.xml").write_text("<annotations><meta><task/></meta></annotations>")
    with pytest.raises(AnnotationInvalid, match=r"a\.xml: meta names no source"):
        rows(tmp_path)
