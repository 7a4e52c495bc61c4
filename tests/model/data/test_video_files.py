import pytest

from extract.dataset.video_lists import Video
from extract.features.ids import id_of
from model.data.video_files import find_table_videos, find_videos
from model.errors import AnnotationInvalid
from tests.model.support.tables import table_of


@pytest.mark.parametrize("name", ["Küche 1.mp4", "Küche 1.MOV", "Ku\u0308che 1.mkv"])
def test_a_video_is_found_by_the_name_one_sees(tmp_path, name):
    for other in (name, "Kuche 1.mp4", "Küche 1.txt", "küche 1.mp4"):
        (tmp_path / other).touch()
    found = Video(id_of("Küche 1"), tmp_path / name)
    assert find_videos(tmp_path, ["Küche 1"]) == {"Küche 1": found}


def test_a_name_spelt_as_asked_goes_before_one_that_looks_the_same(tmp_path):
    names = ["Küche 1", "Ku\u0308che 1"]
    for name in names:
        (tmp_path / f"{name}.mp4").touch()
    found = {name: Video(id_of(name), tmp_path / f"{name}.mp4") for name in names}
    assert find_videos(tmp_path, names) == found
    (tmp_path / "Küche 1.avi").touch()
    with pytest.raises(AnnotationInvalid, match=r"found Küche 1\.avi and Küche 1\.mp4"):
        find_videos(tmp_path, ["Küche 1"])
    with pytest.raises(AnnotationInvalid, match="found none"):
        find_videos(tmp_path / "nowhere", ["Küche 1"])


@pytest.mark.parametrize("name", ["clip 1", "clip 1.MP4", "Tag 1/clip 1", "in/Tag 1/clip 1.MP4"])
def test_a_video_is_found_in_any_folder_by_as_much_of_its_path_as_one_likes(tmp_path, name):
    path = tmp_path / "in" / "Tag 1" / "clip 1.MP4"
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_videos(tmp_path, [name]) == {name: Video(id_of(name), path)}


def test_a_path_tells_files_of_one_name_apart_and_without_it_both_are_named(tmp_path):
    for place in ("a", "b", "b/c"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "clip.mp4").touch()
    with pytest.raises(AnnotationInvalid, match=r"found a/clip\.mp4 and b/c/clip\.mp4 and b/clip"):
        find_videos(tmp_path, ["clip"])
    found = find_videos(tmp_path, ["a/clip", "b/clip", "c/clip"])
    assert [video.path.parent.name for video in found.values()] == ["a", "b", "c"]
    (tmp_path / "clip.mkv").touch()
    assert find_videos(tmp_path, ["clip"])["clip"].path == tmp_path / "clip.mkv"


def test_all_that_are_missing_are_named_and_a_file_has_one_name(tmp_path):
    (tmp_path / "Clip.mp4").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(AnnotationInvalid) as error:
        find_videos(tmp_path, ["clip", "notes", "Clip", "Clip.mp4"])
    said = str(error.value)
    assert "named clip, found none; Clip.mp4 differs in capitals" in said
    assert "named notes, found none\n" in said
    assert "Clip.mp4 is called Clip and Clip.mp4: use one name" in said


def test_a_data_set_may_call_the_file_otherwise_than_the_video(tmp_path):
    (tmp_path / "1_7_360p.mp4").touch()
    names = ("{}", "{}_360p")
    assert find_videos(tmp_path, ["1_7"], names=names)["1_7"].path.name == "1_7_360p.mp4"
    (tmp_path / "1_7.mp4").touch()
    assert find_videos(tmp_path, ["1_7"], names=names)["1_7"].path.name == "1_7.mp4"


def test_linked_folders_are_searched_once(tmp_path):
    disk, folder = tmp_path / "disk", tmp_path / "videos"
    disk.mkdir()
    folder.mkdir()
    (disk / "clip.mp4").touch()
    (disk / "round").symlink_to(folder)
    for name in ("P01", "P02"):
        (folder / name).symlink_to(disk)
    assert find_videos(folder, ["clip"])["clip"].path == folder / "P01" / "clip.mp4"


def test_the_rows_that_name_missing_videos_are_named(tmp_path):
    (tmp_path / "a_360p.mp4").touch()
    rows = [("b", 1, 2, "cut"), ("a", 1, 2, "cut"), ("b", 0, 1, "cut")]
    with pytest.raises(AnnotationInvalid, match=r"labels\.csv, line 4: expected one file named b"):
        find_table_videos(tmp_path, table_of(*rows, file_names=("{}_360p",)))
    found = find_table_videos(tmp_path, table_of(rows[1], file_names=("{}_360p",)))
    assert found["a"].path == tmp_path / "a_360p.mp4"
