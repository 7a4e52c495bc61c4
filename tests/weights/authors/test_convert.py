import json
import os
import pickle

import pytest
import torch

from tests.checkpoints import ENTRY, SMALL, TASKS, Shape, make_checkpoint, write_labels
from weights.__main__ import main
from weights.authors.convert import import_authors
from weights.bundle import load_bundle
from weights.errors import CheckpointInvalid, ImportRefused


def save(folder, checkpoint, name="checkpoint.pth"):
    torch.save(checkpoint, folder / name)
    return folder / name


@pytest.fixture
def labels(tmp_path):
    return write_labels(tmp_path)


def refusal(tmp_path, labels, checkpoint):
    with pytest.raises(CheckpointInvalid) as caught:
        import_authors([save(tmp_path, checkpoint)], taxonomy=labels[0])
    assert caught.value.file == str(tmp_path / "checkpoint.pth")
    return caught.value.detail


# ---- what is read -------------------------------------------------------------------------------


def test_a_learnt_task_listens_to_the_tasks_with_prototypes(tmp_path, labels):
    bundle = import_authors([save(tmp_path, make_checkpoint("lta"))], taxonomy=labels[0])
    assert bundle.manifest.skills["lta"]["perspectives"] == ["ar", "oscc", "pnr"]
    assert [t["name"] for t in bundle.manifest.backbones["lta"]["tasks"]] == ["ar", "oscc", "pnr"]
    assert bundle.encoder == {}


def test_any_number_of_known_tasks_will_do(tmp_path, labels):
    checkpoint = make_checkpoint("lta", known=["pnr"])
    for name in [n for n in checkpoint["task/lta"] if ".ar." in n or ".oscc." in n]:
        del checkpoint["task/lta"][name]
    bundle = import_authors([save(tmp_path, checkpoint)], taxonomy=labels[0])
    assert bundle.manifest.skills["lta"]["perspectives"] == ["pnr"]


def test_a_multitask_model_gives_a_skill_for_every_trained_head(tmp_path, labels):
    checkpoint = make_checkpoint(None)
    checkpoint["task/oscc"]["net.2.weight"] = torch.ones(SMALL.width)
    checkpoint["task/oscc"]["net.2.bias"] = torch.zeros(SMALL.width)
    checkpoint["task/pnr"] = None
    bundle = import_authors([save(tmp_path, checkpoint)], taxonomy=labels[0])
    assert set(bundle.skills) == {"ar", "lta"}
    assert all(facts["perspectives"] == [] for facts in bundle.manifest.skills.values())
    assert bundle.backpack == {}
    assert "task/oscc was never trained" in bundle.manifest.training["notes"][0]


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


# ---- what is refused ----------------------------------------------------------------------------


SLIM = Shape(layers=1, depth=1)


def every_tensor(checkpoint):
    return [(part, name) for part, state in checkpoint.items() if part != "epoch" for name in state]


@pytest.mark.parametrize("novel", ["ar", None])
def test_every_missing_tensor_is_refused(tmp_path, labels, novel):
    whole = make_checkpoint(novel, shape=SLIM)
    for part, name in every_tensor(whole):
        lacking = {n: t for n, t in whole[part].items() if n != name}
        detail = refusal(tmp_path, labels, whole | {part: lacking})
        assert name in detail or "aux_classifiers" in name or name.startswith("net.module_0")


@pytest.mark.parametrize("novel", ["pnr", None])
def test_every_tensor_of_a_wrong_shape_is_refused(tmp_path, labels, novel):
    whole = make_checkpoint(novel, shape=SLIM)
    for part, name in every_tensor(whole):
        *rows, columns = whole[part][name].shape
        for wrong in (torch.zeros(*rows, columns + 1), torch.tensor(1.0)):
            refusal(tmp_path, labels, whole | {part: whole[part] | {name: wrong}})


@pytest.mark.parametrize("part", ["temporal_graph", "task/pnr", "graphone"])
def test_an_unknown_tensor_is_refused_by_name(tmp_path, labels, part):
    checkpoint = make_checkpoint("ar")
    checkpoint[part]["net.7.gate"] = torch.zeros(2)
    assert f"{part}: unknown tensor net.7.gate" in refusal(tmp_path, labels, checkpoint)


def test_a_tensor_that_is_not_finite_or_not_of_floats_is_refused(tmp_path, labels):
    checkpoint = make_checkpoint("ar")
    checkpoint["task/pnr"]["net.1.bias"][3] = float("nan")
    assert "net.1.bias holds values that are not finite" in refusal(tmp_path, labels, checkpoint)
    checkpoint["task/pnr"]["net.1.bias"] = torch.zeros(SMALL.width, dtype=torch.int64)
    assert "'net.1.bias' is not a named dense tensor" in refusal(tmp_path, labels, checkpoint)


def test_other_positions_are_refused(tmp_path, labels):
    checkpoint = make_checkpoint("ar")
    checkpoint["temporal_graph"]["positional_encoding.frequency"] *= 2
    assert "frequency" in refusal(tmp_path, labels, checkpoint)


def test_an_unknown_entry_or_no_dict_is_refused(tmp_path, labels):
    assert "optimizer" in refusal(tmp_path, labels, make_checkpoint("ar") | {"optimizer": {}})
    assert "expected a dict" in refusal(tmp_path, labels, [torch.zeros(2)])
    assert "no entry temporal_graph" in refusal(tmp_path, labels, {})
    no_state = make_checkpoint("ar") | {"graphone": torch.zeros(2)}
    assert "graphone: expected a state dict" in refusal(tmp_path, labels, no_state)


def test_a_backpack_without_prototypes_is_refused(tmp_path, labels):
    checkpoint = make_checkpoint("ar", shape=Shape(prototypes=0))
    assert "embeddings.lta.weight should be of shape" in refusal(tmp_path, labels, checkpoint)


def test_no_or_two_learnt_tasks_are_refused(tmp_path, labels):
    two = make_checkpoint("ar", known=["oscc", "lta"])
    for name in [n for n in two[ENTRY["ar"]] if ".pnr." in n]:
        del two[ENTRY["ar"]][name]
    for name in [n for n in two[ENTRY["pnr"]] if ".ar." in n]:
        del two[ENTRY["pnr"]][name]
    assert "found ['ar', 'pnr']" in refusal(tmp_path, labels, two)
    none = make_checkpoint("ar", known=list(TASKS))
    assert "found none" in refusal(tmp_path, labels, none)


def test_prototypes_of_a_task_without_a_head_are_refused(tmp_path, labels):
    checkpoint = make_checkpoint("ar") | {"task/pnr": None}
    assert "each task with prototypes needs its head" in refusal(tmp_path, labels, checkpoint)


def test_a_skill_must_listen_to_exactly_the_tasks_with_prototypes(tmp_path, labels):
    checkpoint = make_checkpoint("ar")
    for name in [n for n in checkpoint["graphone"] if ".pnr." in n]:
        del checkpoint["graphone"][name]
    detail = refusal(tmp_path, labels, checkpoint)
    assert "prototypes are of ['lta', 'oscc']" in detail
    assert "found none" in detail


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


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, labels):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    for data in (make_checkpoint("ar") | {"task/pnr": Evil()}, Evil()):
        assert "could run code" in refusal(tmp_path, labels, data)
    bare = tmp_path / "checkpoint.pth"
    bare.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointInvalid, match="could run code"):
        import_authors([bare], taxonomy=labels[0])
    assert not (tmp_path / "run").exists()


def test_a_damaged_or_missing_file_is_refused(tmp_path, labels):
    path = save(tmp_path, make_checkpoint("ar"))
    data = path.read_bytes()
    for spoilt in (b"", b"hello", data[: len(data) // 2]):
        path.write_bytes(spoilt)
        with pytest.raises(CheckpointInvalid):
            import_authors([path], taxonomy=labels[0])
    with pytest.raises(CheckpointInvalid, match="No such file"):
        import_authors([tmp_path / "none.pth"], taxonomy=labels[0])


# ---- the command --------------------------------------------------------------------------------


def command(tmp_path, labels, out, *files):
    return main(
        ["import-authors", *map(str, files), "--taxonomy", str(labels[0]), "--out", str(out)]
    )


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
