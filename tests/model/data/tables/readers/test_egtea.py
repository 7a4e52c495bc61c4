"""EGTEA Gaze+ loads as published: a clip's name says where it was cut from."""

import pytest

from model.data.tables.kinds import load_table
from model.errors import AnnotationInvalid

FILES = {
    "train_split1.txt": "OP01-R01-PastaSalad-66680-68130-F001597-F001641 2 1 2 1 \n",
    "test_split1.txt": "P02-R03-Pizza-1000-2500-F000024-F000060 1 2 1\n",
    "action_idx.txt": "Inspect/Read recipe 1\nTake bowl,tomato 2\n",
    "verb_idx.txt": "Take 1\nInspect/Read 2\n",
    "noun_idx.txt": "recipe 1\nbowl 2\n",
}


def written(root, **changes):
    folder = root / "action_annotation"
    folder.mkdir(exist_ok=True)
    for name, text in (FILES | {f"{n}.txt": t for n, t in changes.items()}).items():
        (folder / name).write_text(text)
    return root


def test_times_and_names_are_those_of_the_clip(tmp_path):
    table = load_table(f"egtea:{written(tmp_path)}")
    assert table.video == ("OP01-R01-PastaSalad", "P02-R03-Pizza")
    assert table.start_s.tolist() == [66.68, 1.0]
    assert table.end_s.tolist() == [68.13, 2.5]
    assert table.labels == {
        "action": ("Take bowl,tomato", "Inspect/Read recipe"),
        "verb": ("Take", "Inspect/Read"),
        "noun": ("bowl", "recipe"),
    }
    assert table.split == {"OP01-R01-PastaSalad": "train", "P02-R03-Pizza": "val"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_split1": "P01-R01-Pizza-1-2 1 1 1\n"}, "line 1: expected VIDEO-START-END-Fn-Fn"),
        (
            {"test_split1": "P-1-2-F1-F2 1 1\n"},
            "line 1: expected VIDEO-START-END-Fn-Fn, then an id",
        ),
        ({"test_split1": "\nP-1-2-F1-F2 1 3 1\n"}, "line 2, verb: expected an id of verb_idx.txt"),
        ({"noun_idx": "recipe 1\nbowl 1\n"}, "line 2: expected a name and an id of its own"),
        ({"noun_idx": "recipe\n"}, "line 1: expected a name and an id of its own, got 'recipe'"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(tmp_path, changes, said):
    with pytest.raises(AnnotationInvalid) as error:
        load_table(f"egtea:{written(tmp_path, **changes)}")
    assert f"{next(iter(changes))}.txt, {said}" in str(error.value)


def test_a_clip_in_both_lists_means_a_split_anew(tmp_path):
    both = FILES["train_split1.txt"].replace("66680-68130", "70000-71000")
    table = load_table(f"egtea:{written(tmp_path, test_split1=both)}")
    assert table.split is None
    assert "1 of 1 videos are in several" in table.notes[0]
