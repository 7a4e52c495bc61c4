"""Videos are found wherever the Ego4D client puts them and its lists, and what is not is named."""

import csv
import json
from pathlib import Path

import pytest

from extract.__main__ import main
from extract.dataset.manifest import find_videos
from extract.dataset.video_lists import Video
from extract.features.ids import id_of
from extract.features.store import FeatureStore
from tests.extract.support.clips import write_numbered

FRAMES = {"uid-1": 40, "uid-2": 50}


def write_facts(path: Path) -> None:
    videos = [
        {"video_uid": uid, "is_stereo": uid == "uid-2", "video_metadata": {"num_frames": frames}}
        for uid, frames in FRAMES.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"videos": videos, "clips": []}))


def write_manifest(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_uid", "canonical_s3_location", "benchmarks"])
        writer.writerows([uid, f"s3://bucket/public/v1/{uid}", "[fho|em]"] for uid in FRAMES)


LISTS = {
    "ego4d.json": write_facts,
    "v1/ego4d.json": write_facts,
    "manifest.csv": write_manifest,
    "v1/manifest.csv": write_manifest,
}


@pytest.mark.parametrize("place", LISTS)
@pytest.mark.parametrize("folder", ["v1/full_scale", "v1/video_540ss", "v2/full_scale"])
def test_a_list_of_the_clients_finds_the_videos_of_its_version(tmp_path, place, folder):
    if place.startswith("v1/"):
        folder = folder.replace("v2/", "v1/")
    write_list(tmp_path, place)
    (tmp_path / folder).mkdir(parents=True)
    paths = {uid: tmp_path / folder / f"{uid}.mp4" for uid in FRAMES}
    paths["uid-1"].touch()
    paths["uid-2"].touch()
    assert {v.id: v.path for v in find_videos([tmp_path / place])} == paths


def write_list(root: Path, place: str) -> None:
    LISTS[place](root / place)


def test_a_manifest_beside_the_videos_names_those(tmp_path):
    folder = tmp_path / "v1" / "video_540ss"
    write_manifest(folder / "manifest.csv")
    for uid in FRAMES:
        (folder / f"{uid}.mp4").touch()
    found = find_videos([folder / "manifest.csv"])
    assert [v.path for v in found] == [folder / f"{uid}.mp4" for uid in FRAMES]


def test_copies_of_fewer_pixels_do_not_mix_with_full_videos(tmp_path):
    """Their features differ: a full video that is not there is missing."""
    write_facts(tmp_path / "ego4d.json")
    full, small = (tmp_path / "v1" / name for name in ("full_scale", "video_540ss"))
    for folder in (full, small):
        folder.mkdir(parents=True)
    (full / "uid-1.mp4").touch()
    for uid in FRAMES:
        (small / f"{uid}.mp4").touch()
    one, two = find_videos([tmp_path / "ego4d.json"])
    assert one.path == full / "uid-1.mp4"
    assert two.path == full / "uid-2.mp4"
    assert two.sought == str(full / "uid-2.mp4")
    with pytest.raises(FileNotFoundError) as caught:
        two.check_there()
    assert caught.value.filename == two.sought


@pytest.mark.parametrize("place", ["ego4d.json", "v1/ego4d.json"])
@pytest.mark.parametrize("named", ["folder", "file"])
def test_videos_without_a_list_are_what_the_facts_above_them_say(tmp_path, place, named):
    write_facts(tmp_path / place)
    folder = tmp_path / "v1" / "full_scale"
    folder.mkdir(parents=True, exist_ok=True)
    for uid in (*FRAMES, "stranger"):
        (folder / f"{uid}.mp4").touch()
    files = sorted(folder.iterdir())
    assert find_videos([folder] if named == "folder" else files) == [
        Video("stranger", folder / "stranger.mp4"),
        Video("uid-1", folder / "uid-1.mp4", 40),
        Video("uid-2", folder / "uid-2.mp4", 50, is_stereo=True),
    ]


def test_facts_of_a_name_are_those_of_its_files_whatever_their_ids(tmp_path):
    facts = [{"video_uid": uid, "is_stereo": True, "video_metadata": {"num_frames": 40}}
             for uid in ("Küche 1", "first")]  # fmt: skip
    (tmp_path / "ego4d.json").write_text(json.dumps({"videos": facts}))
    folder = tmp_path / "videos"
    (folder / "P01").mkdir(parents=True)
    names = ["Küche 1", "first", "P01/first", "other"]
    for name in names:
        (folder / f"{name}.mp4").touch()
    (folder / "list.txt").write_text("\n".join(f"{name}.mp4" for name in names))
    for place in (folder, folder / "list.txt"):
        found = {video.id: video for video in find_videos([place])}
        twins = [id_of("./first.mp4"), id_of("./P01/first.mp4")]
        stated = {name: (video.num_frames, video.is_stereo) for name, video in found.items()}
        assert stated == {
            **dict.fromkeys([id_of("Küche 1"), *twins], (40, True)), "other": (None, False),
        }  # fmt: skip


def test_a_name_that_no_file_can_have_is_missing_and_no_more(tmp_path):
    write_facts(tmp_path / "ego4d.json")
    videos = json.loads((tmp_path / "ego4d.json").read_text())["videos"]
    videos.append({"video_uid": "x" * 300})
    (tmp_path / "ego4d.json").write_text(json.dumps({"videos": videos}))
    (tmp_path / "list.txt").write_text(f"{'y' * 300}/one.mp4")
    found = find_videos([tmp_path / "ego4d.json", tmp_path / "list.txt"])
    assert [video.id for video in found] == [*FRAMES, id_of("x" * 300), "one"]
    for video in found:
        with pytest.raises(OSError, match="no such file|File name too long"):
            video.check_there()


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.slow
@pytest.mark.parametrize("place", LISTS)
def test_videos_of_a_root_are_extracted(bundle, tmp_path, place, capsys):
    root = tmp_path / "ego4d"
    write_list(root, place)
    for uid, frames in FRAMES.items():
        (root / "v1" / "full_scale").mkdir(parents=True, exist_ok=True)
        write_numbered(root / "v1" / "full_scale" / f"{uid}.mp4", frames)
    assert run(root / place, "--out", tmp_path / "features", "--encoder", bundle) == 0
    assert FeatureStore(tmp_path / "features").video_ids() == list(FRAMES)


@pytest.mark.parametrize("place", LISTS)
def test_a_root_without_videos_says_where_they_were_looked_for(bundle, tmp_path, place, caplog):
    root = tmp_path / "ego4d"
    write_list(root, place)
    out = tmp_path / "features"
    assert run(root / place, "--out", out, "--encoder", bundle) == 1
    assert "none of 2 videos is there" in caplog.text
    folders = ["full_scale", "video_540ss"]
    if not place.startswith("v1/"):
        folders += [f"{version}/{name}" for version in ("v1", "v2") for name in folders]
    for folder in folders:
        assert str((root / place).parent / folder / "uid-1.mp4") in caplog.text
    assert not out.exists()  # no report of a run that did nothing


def test_a_video_that_is_not_there_fails_alone_with_the_places_looked_at(bundle, tmp_path, capsys):
    root = tmp_path / "ego4d"
    write_facts(root / "ego4d.json")
    for version in ("v1", "v2"):
        (root / version / "full_scale").mkdir(parents=True)
        write_numbered(root / version / "full_scale" / f"{version}-other.mp4", 33)
    write_numbered(root / "v2" / "full_scale" / "uid-1.mp4", 40)
    arguments = (root / "ego4d.json", "--out", tmp_path / "features", "--encoder", bundle)
    for again in ("written", "skipped"):
        assert run(*arguments) == 3
        found = json.loads(capsys.readouterr().out)
        assert found[again] == 1
        places = [str(root / v / "full_scale" / "uid-2.mp4") for v in ("v1", "v2")]
        assert found["failed"] == {"uid-2": f"missing-file: there is no {' or '.join(places)}"}
