"""EgoExoLearn loads as published: the first label that counts, by its name in the taxonomy."""

import pytest

from model.data.tables.kinds import load_table
from model.errors import AnnotationInvalid

HEADER = "video_id,annotation_id,start_sec,end_sec,verb,noun,scenario\n"


def written(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "valid_verbs.txt").write_text("0\n2")
    (folder / "valid_nouns.txt").write_text("1")
    (folder / "narration_verb_taxonomy.csv").write_text("label,group\ncut,['cut']\nput,x\nwash,x\n")
    (folder / "narration_noun_taxonomy.csv").write_text('label,group\nlid,x\n"pan_(pan,_pot)",x\n')
    for name, rows in files.items():
        (folder / f"{name}.csv").write_text(HEADER + rows)
    return folder


@pytest.mark.parametrize("place", [".", "annotations", "EgoExoLearn/annotations"])
def test_labels_are_named_and_rows_without_one_stay(tmp_path, place):
    written(
        tmp_path / place,
        ego_train='v,a,1.5,2.5,"[1, 2, 0]",[0],lab\nw,a,0,1,[0],[1],lab\n',
        ego_val="v,b,3,4,[],[1],lab\n",
        exo_train="x,a,1,2,[0],[1],lab\n",
    )
    table = load_table(f"egoexolearn:{tmp_path}")
    assert table.video == ("v", "v", "w")
    assert table.labels["verb"] == ("wash", None, "cut")
    assert table.labels["noun"] == (None, "pan_(pan,_pot)", "pan_(pan,_pot)")
    assert table.where(1) == f"{tmp_path / place / 'ego_val.csv'}, line 2"
    assert table.split is None
    assert table.notes == (
        "1 of 2 videos are in several of the published splits: videos are split anew",
        "1 rows have no verb that counts",
        "1 rows have no noun that counts",
    )


def test_splits_without_shared_videos_are_used(tmp_path):
    written(tmp_path, ego_train="v,a,1,2,[0],[1],lab\n", ego_val="w,b,3,4,[0],[1],lab\n")
    assert load_table(f"egoexolearn:{tmp_path}").split == {"v": "train", "w": "val"}


def test_what_is_wrong_is_named(tmp_path):
    written(tmp_path, ego_train="v,a,1,2,[0],{1},lab\nv,a,1,2,[0,[1],lab\n")
    with pytest.raises(
        AnnotationInvalid, match=r"ego_train\.csv, line 3, verb: expected a name or"
    ):
        load_table(f"egoexolearn:{tmp_path}")
    for name in ("a", "b"):
        written(tmp_path / "two" / name, ego_train="v,a,1,2,[0],[1],lab\n")
    with pytest.raises(AnnotationInvalid, match="label files are in several folders"):
        load_table(f"egoexolearn:{tmp_path / 'two'}")
    with pytest.raises(AnnotationInvalid, match="there is no such file or folder"):
        load_table(f"egoexolearn:{tmp_path / 'nowhere'}")
