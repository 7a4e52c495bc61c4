import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.dataset.manifest import find_videos, shard_of
from extract.dataset.video_lists import Video
from extract.features.ids import id_of, is_safe_id

IDS = st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True), unique=True)


@given(ids=IDS, count=st.integers(1, 9))
def test_shards_are_disjoint_and_complete_in_any_order(ids, count):
    videos = [Video(video_id, Path(video_id)) for video_id in ids]
    parts = [shard_of(videos, k, count) for k in range(1, count + 1)]
    assert sorted(v.id for part in parts for v in part) == sorted(ids)
    for k, part in enumerate(parts, 1):
        assert {v.id for v in shard_of(videos[::-1], k, count)} == {v.id for v in part}
        assert {v.id for v in shard_of(videos[1:], k, count)} <= {v.id for v in part}


def test_shards_are_about_equal():
    videos = [Video(f"video-{k}", Path(str(k))) for k in range(1000)]
    assert all(150 < len(shard_of(videos, k, 5)) < 250 for k in range(1, 6))


@pytest.mark.parametrize(("index", "count"), [(0, 2), (3, 2), (1, 0)])
def test_a_shard_that_is_not_there_is_refused(index, count):
    with pytest.raises(ValueError, match="expected a shard"):
        shard_of([], index, count)


def test_what_is_named_twice_is_one_video(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.txt").write_text("a.mp4\n")
    assert find_videos([tmp_path, tmp_path / "list.txt"]) == [Video("a", tmp_path / "a.mp4")]


def ids(*paths):
    """Path -> id, of what is found."""
    return {video.path: video.id for video in find_videos(paths)}


def touched(folder, *names):
    made = [folder / name for name in names]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return made


def test_files_of_one_name_have_ids_of_their_paths_wherever_their_folder_lies(tmp_path, caplog):
    names = ("a.mp4", "a.MP4", "deeper/a.mov", "other/a.mov", "b.mp4")
    found = []
    for folder in (tmp_path / "x", tmp_path / "y"):
        paths = touched(folder, *names)
        found.append([ids(folder)[path] for path in paths])
        assert "4 files share their names with others" in caplog.text
    assert found[0] == found[1]
    assert len(set(found[0])) == 5
    assert all(map(is_safe_id, found[0]))
    *paths, alone = found[0]
    assert alone == "b"
    assert [id.partition("=")[0] for id in paths] == [
        "a.mp4",
        "a.MP4",
        "deeper-a.mov",
        "other-a.mov",
    ]


def test_a_file_that_shares_its_name_from_now_on_is_not_taken_for_the_one_before(tmp_path):
    touched(tmp_path, "deeper/a.mp4")
    assert list(ids(tmp_path).values()) == ["a"]
    touched(tmp_path, "a.mp4")
    assert "a" not in ids(tmp_path).values()


def test_files_of_one_path_below_their_folders_have_ids_of_the_whole_path(tmp_path):
    paths = touched(tmp_path, "x/in/a.mp4", "y/in/a.mp4", "x/a.mp4")
    found = ids(tmp_path / "x", tmp_path / "y")
    assert len(set(found.values())) == 3
    assert found[paths[2]].startswith("a.mp4=")
    assert found[paths[0]].partition("=")[0].endswith("x-in-a.mp4")
    assert found == ids(tmp_path / "y", tmp_path / "x")


def test_one_file_by_several_ways_is_one_video(tmp_path, monkeypatch):
    (path,) = touched(tmp_path, "in/a.mp4")
    (tmp_path / "in" / "link").mkdir()
    (tmp_path / "in" / "link" / "a.mp4").symlink_to(path)
    (tmp_path / "list.txt").write_text("in/a.mp4\nin/../in/a.mp4\n")
    monkeypatch.chdir(tmp_path)
    ways = (tmp_path / "in", Path("in"), Path("in/a.mp4"), path, tmp_path / "list.txt")
    assert find_videos(ways) == [Video("a", path)]


def test_an_id_that_a_list_gives_is_kept_and_the_file_of_that_name_has_another(tmp_path):
    chosen, other = touched(tmp_path, "x/one.mp4", "y/a.mp4")
    (tmp_path / "list.csv").write_text("id,path\na,x/one.mp4\n")
    found = ids(tmp_path / "y", tmp_path / "list.csv")
    assert found[chosen] == "a"
    assert found[other].startswith("a.mp4=")


ODD = ["Küche 1", "a[b](c)", "-x", ".hid", "K\udcfcche", "a\nb", "a=b", "x" * 251]


def test_files_of_any_name_have_ids_in_folders_and_in_lists(tmp_path):
    paths = touched(tmp_path / "in", *(f"{name}.mp4" for name in ODD))
    expected = dict(zip(paths, map(id_of, ODD), strict=True))
    assert ids(tmp_path / "in") == expected
    for path in paths:
        assert ids(path) == {path: expected[path]}
    lines = [f"in/{name}.mp4" for name in ODD if "\n" not in name]
    (tmp_path / "list.txt").write_bytes(os.fsencode("\n".join(lines)))
    del expected[tmp_path / "in" / "a\nb.mp4"]
    assert ids(tmp_path / "list.txt") == expected


def test_a_list_may_call_a_video_anything_or_by_the_id_it_has(tmp_path):
    made = id_of("Küche 1")
    (tmp_path / "a.csv").write_text(f'id,path\n{made},a.mp4\n../up,b.mp4\n"P01/x, y",c.mp4\n')
    found = list(ids(tmp_path / "a.csv").values())
    assert found == [made, id_of("../up"), id_of("P01/x, y")]
    (tmp_path / "b.json").write_text(json.dumps({"videos": [{"video_uid": "é"}]}))
    assert ids(tmp_path / "b.json") == {tmp_path / "full_scale" / "é.mp4": id_of("é")}
