import json

import pytest

from extract.dataset.manifest import find_videos
from extract.dataset.video_lists import ManifestInvalid, Video


def test_a_list_of_ours_names_ids_paths_and_lengths(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(f"id, path, num_frames\none, deeper/1.mp4, 90\ntwo, {tmp_path}/2.mkv,\n")
    assert find_videos([path]) == [
        Video("one", tmp_path / "deeper" / "1.mp4", 90),
        Video("two", tmp_path / "2.mkv"),
    ]


def test_a_text_names_a_path_a_line(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("one.mp4\n\ndeeper/two.webm\r\n")
    assert find_videos([path]) == [
        Video("one", tmp_path / "one.mp4"),
        Video("two", tmp_path / "deeper" / "two.webm"),
    ]


@pytest.mark.parametrize("column", ["s3_path", "canonical_s3_location"])
def test_the_ego4d_clients_manifest_names_the_files_beside_it(tmp_path, column):
    path = tmp_path / "full_scale" / "manifest.csv"
    path.parent.mkdir()
    path.write_text(
        f"video_uid,type,{column},benchmarks\nuid-1,video,s3://bucket/v/other-name.mp4,[fho|em]\n"
    )
    assert find_videos([path]) == [Video("uid-1", path.parent / "uid-1.mp4")]


def test_ego4d_json_names_the_full_videos_and_their_lengths(tmp_path):
    path = tmp_path / "ego4d.json"
    videos = [
        {"video_uid": "uid-1", "video_metadata": {"num_frames": 900, "fps": 30}},
        {"video_uid": "uid-2", "video_metadata": {"num_frames": 900, "fps": 25}},
        {"video_uid": "uid-3", "video_metadata": None},
    ]
    path.write_text(json.dumps({"videos": videos, "clips": []}))
    assert find_videos([path]) == [
        Video("uid-1", tmp_path / "full_scale" / "uid-1.mp4", 900),
        Video("uid-2", tmp_path / "full_scale" / "uid-2.mp4"),
        Video("uid-3", tmp_path / "full_scale" / "uid-3.mp4"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.csv", "", "line 1: expected a column named 'id' or"),
        ("a.csv", "id,place\n", "line 1: expected a column named 'path'"),
        ("a.csv", "id,path\na,a.mp4\n,b.mp4\n", "line 3, column 'id': is empty"),
        ("a.csv", "id,path\na\n", "line 2, column 'path': is empty"),
        ("a.csv", "id,path\na,b,c\n", "line 2: has more columns"),
        ("a.csv", "id,path\na,a.mp4\nb,b.mp4\na,c.mp4\n", "line 4, column 'id': 'a' is named in"),
        ("a.csv", "id,path,num_frames\na,b,-3\n", "line 2, column 'num_frames': expected a posi"),
        ("a.csv", "id,path,num_frames\na,b,many\n", "line 2, column 'num_frames': expected a po"),
        ("a.csv", 'id,path\na,"b\n', "unexpected end of data"),
        ("a.csv", "id,path\n", "names no video"),
        ("a.csv", "id,path\nä,a.mp4\nä,b.mp4\n", "line 3, column 'id': 'ä' is named in"),
        ("a.txt", "\n \n", "names no video"),
        ("a.txt", "good.mp4\nb\0d.mp4\n", "line 2: not a text in UTF-8"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[]", "expected an object with a list 'videos'"),
        ("a.json", '{"videos": [{"video_uid": "a"}, {"uid": 1}]}', "videos[1], 'video_uid'"),
        (
            "a.json",
            '{"videos": [{"video_uid": "a", "video_metadata": {"num_frames": "x"}}]}',
            "videos[0], column 'num_frames'",
        ),
    ],
)
def test_a_list_that_cannot_be_used_says_where(tmp_path, name, content, place):
    (tmp_path / name).write_text(content)
    with pytest.raises(ManifestInvalid) as caught:
        find_videos([tmp_path / name])
    assert str(caught.value).startswith(str(tmp_path / name))
    assert place in str(caught.value)


def test_a_list_that_is_no_text_says_so(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"id,path\n\xff\xfe,b\n")
    with pytest.raises(ManifestInvalid, match="not a text in UTF-8"):
        find_videos([tmp_path / "a.csv"])


def test_a_list_says_which_videos_are_stereo(tmp_path):
    (tmp_path / "list.csv").write_text("id,path,is_stereo\na,a.mp4,true\nb,b.mp4,0\nc,c.mp4,\n")
    found = {video.id: video.is_stereo for video in find_videos([tmp_path / "list.csv"])}
    assert found == {"a": True, "b": False, "c": False}
    entries = [{"video_uid": "d", "is_stereo": True}, {"video_uid": "e"}]
    (tmp_path / "ego4d.json").write_text(json.dumps({"videos": entries}))
    found = {video.id: video.is_stereo for video in find_videos([tmp_path / "ego4d.json"])}
    assert found == {"d": True, "e": False}
    (tmp_path / "list.csv").write_text("id,path,is_stereo\na,a.mp4,perhaps\n")
    with pytest.raises(ManifestInvalid, match=r"line 2, column 'is_stereo'.*perhaps"):
        find_videos([tmp_path / "list.csv"])
