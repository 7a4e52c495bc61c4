import json

import pytest
import torch

from tests.support.checkpoints import ENTRY, TASKS, Shape, make_checkpoint, write_labels
from tests.weights.authors.refusals import refusal, save
from weights.__main__ import main
from weights.authors.convert import import_authors
from weights.bundle import load_bundle
from weights.errors import ImportRefused


def test_every_number_of_the_novel_tasks_is_kept_and_none_is_made_up(tmp_path, labels):
    checkpoint = make_checkpoint("ar")
    bundle = import_authors([save(tmp_path, checkpoint)], taxonomy=labels[0])
    used = dict(checkpoint["temporal_graph"])
    del used["positional_encoding.frequency"]
    heads = [checkpoint[ENTRY[t]] for t in ("oscc", "lta", "pnr")]
    known = [v for head in heads for n, v in head.items() if not n.startswith("aux_")]
    used = [*used.values(), *known, *checkpoint[ENTRY["ar"]].values()]
    used += checkpoint["graphone"].values()
    kept = [*bundle.backbones["ar"].values(), *bundle.skills["ar"].values()]
    kept += [t for name, t in bundle.backpack.items() if "/" not in name]
    assert sorted(t.sum().item() for t in kept) == sorted(t.sum().item() for t in used)


def test_the_order_of_tensors_in_the_file_does_not_matter(tmp_path, labels):
    checkpoint = make_checkpoint("oscc")
    turned = {k: dict(reversed(v.items())) for k, v in reversed(checkpoint.items())}
    one, other = (
        import_authors([save(tmp_path, c, f"{i}.pth")], taxonomy=labels[0])
        for i, c in enumerate((checkpoint, turned))
    )
    assert one.manifest.backbones == other.manifest.backbones  # fingerprints included
    for name, tensor in one.skills["oscc"].items():
        assert torch.equal(tensor, other.skills["oscc"][name])


def test_another_taxonomy_is_refused_in_words(tmp_path):
    taxonomy, _ = write_labels(tmp_path, shape=Shape(verbs=6))
    detail = refusal(tmp_path, (taxonomy,), make_checkpoint("oscc"))
    assert "has 5 verbs, the taxonomy names 6" in detail


def test_the_same_task_twice_is_refused(tmp_path, labels):
    one = save(tmp_path, make_checkpoint("ar"), "one.pth")
    two = save(tmp_path, make_checkpoint(None), "two.pth")
    with pytest.raises(ImportRefused, match=r"one\.pth and \S+two\.pth both answer ar"):
        import_authors([one, two], taxonomy=labels[0])


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (Shape(d_in=5), r"input_size is 6 in \S+one.pth and 5 in \S+two.pth"),
        (Shape(width=10), "hidden_size"),
        (Shape(layers=2), "num_layers"),
        (Shape(depth=3), "interaction_layers"),
    ],
)
def test_models_of_different_sizes_do_not_share_a_bundle(tmp_path, labels, shape, size):
    one = save(tmp_path, make_checkpoint("ar"), "one.pth")
    two = save(tmp_path, make_checkpoint("lta", shape=shape), "two.pth")
    with pytest.raises(ImportRefused, match=size):
        import_authors([one, two], taxonomy=labels[0])


def command(tmp_path, labels, out, *files):
    return main(
        ["import-authors", *map(str, files), "--taxonomy", str(labels[0]), "--out", str(out)]
    )


@pytest.mark.slow
def test_the_command_writes_a_bundle_that_verifies(tmp_path, labels, capsys):
    files = [save(tmp_path, make_checkpoint(task), f"{task}.pth") for task in TASKS]
    assert command(tmp_path, labels, tmp_path / "out", *files) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["skills"] == sorted(TASKS)
    assert printed.err.count("warning: ") == 4  # prototypes have no names
    assert main(["verify", str(tmp_path / "out")]) == 0
    assert set(load_bundle(tmp_path / "out").manifest.training["sources"]) == set(TASKS)


def test_the_command_replaces_a_bundle_and_no_other_folder(tmp_path, labels, capsys):
    path = save(tmp_path, make_checkpoint("ar"))
    assert command(tmp_path, labels, tmp_path / "out", path) == 0
    assert command(tmp_path, labels, tmp_path / "out", path) == 0
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    assert command(tmp_path, labels, mine, path) == 1
    assert "is no bundle" in capsys.readouterr().err
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_refused_import_says_why_and_leaves_nothing(tmp_path, labels, capsys):
    checkpoint = make_checkpoint("ar")
    del checkpoint["graphone"]["embeddings.lta.weight"]
    assert command(tmp_path, labels, tmp_path / "out", save(tmp_path, checkpoint)) == 1
    assert "checkpoint.pth: graphone: no tensor embeddings.lta.weight" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_lists_the_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "import-authors" in capsys.readouterr().out
