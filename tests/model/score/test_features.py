import json

from extract.features.ids import id_of
from extract.features.store import FeatureStore
from model.score.__main__ import main
from tests.extract.support.clips import write_numbered
from tests.model.support.challenge import options, read_files, write_clips


def test_features_that_are_not_there_are_named_before_any_work(root, tmp_path, capsys):
    arguments = options(root, tmp_path)
    arguments[arguments.index("--features") + 1] = str(tmp_path / "empty")
    assert main(arguments) == 2
    assert "no features of 2 of 2 videos, v0 among them" in capsys.readouterr().err


def test_features_as_the_release_has_them_give_the_same_files(root, out, tmp_path):
    ours, theirs = FeatureStore(root / "features"), FeatureStore(tmp_path / "release")
    for video in ours.video_ids():
        theirs.write_bare(ours.read(video))
    arguments = options(root, tmp_path / "out")
    arguments[arguments.index("--features") + 1] = str(theirs.root)
    assert main(arguments) == 0
    assert read_files(tmp_path / "out") == read_files(out)


def test_missing_features_are_made_from_the_videos_once(root, tmp_path, capsys):
    annotations = tmp_path / "annotations"
    row = {"unique_id": "u", "video_uid": "numbered", "parent_start_sec": 0, "parent_end_sec": 3,
           "parent_start_frame": 0, "parent_end_frame": 90}  # fmt: skip
    write_clips(annotations / "fho_oscc-pnr_test_unannotated.json", [row])
    write_numbered(tmp_path / "numbered.mp4", 100)
    arguments = options(root, tmp_path / "out", "--tasks", "oscc,pnr")
    arguments[1] = str(annotations)
    arguments[arguments.index("--features") + 1] = str(tmp_path / "made")
    assert main(arguments) == 2
    assert main([*arguments, "--videos", str(tmp_path)]) == 0
    assert FeatureStore(tmp_path / "made").video_ids() == ["numbered"]
    assert json.loads((tmp_path / "out/oscc.json").read_bytes())[0]["unique_id"] == "u"
    assert main(arguments) == 0


def test_a_video_that_cannot_be_read_does_not_keep_the_others_from_it(root, tmp_path, capsys):
    videos = ["bad", "Küche 1", "also bad", "plain"]
    rows = [
        {"unique_id": f"u{k}", "video_uid": video, "parent_start_sec": 0, "parent_end_sec": 3,
         "parent_start_frame": 0, "parent_end_frame": 90}
        for k, video in enumerate(videos)
    ]  # fmt: skip
    annotations = tmp_path / "annotations"
    write_clips(annotations / "fho_oscc-pnr_test_unannotated.json", rows)
    for video in videos:
        (tmp_path / f"{video}.mp4").write_bytes(b"nothing")
    for video in ("Küche 1", "plain"):
        write_numbered(tmp_path / f"{video}.mp4", 100)
    arguments = options(root, tmp_path / "out", "--tasks", "oscc,pnr")
    arguments[1] = str(annotations)
    arguments[arguments.index("--features") + 1] = str(tmp_path / "made")
    arguments += ["--videos", str(tmp_path)]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "2 of 4 videos cannot be read" in told
    assert ("also bad.mp4" in told, "plain.mp4" in told) == (True, False)
    assert set(FeatureStore(tmp_path / "made").video_ids()) == {id_of("Küche 1"), "plain"}
    for video in ("bad", "also bad"):
        write_numbered(tmp_path / f"{video}.mp4", 100)
    assert main(arguments) == 0
    assert len(json.loads((tmp_path / "out/oscc.json").read_bytes())) == 4
