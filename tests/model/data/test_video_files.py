import pytest

from extract.dataset.video_lists import Video
from extract.features.ids import id_of
from model.data.video_files import find_videos
from model.errors import AnnotationInvalid


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
    with pytest.raises(AnnotationInvalid, match=r"found Küche 1\.avi, Küche 1\.mp4"):
        find_videos(tmp_path, ["Küche 1"])
    with pytest.raises(AnnotationInvalid, match="found none"):
        find_videos(tmp_path / "nowhere", ["Küche 1"])
