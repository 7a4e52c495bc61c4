import os
import pickle

import pytest
import torch

from tests.support.checkpoints import SMALL, make_checkpoint
from tests.weights.authors.refusals import refusal, save
from weights.authors.convert import import_authors
from weights.errors import CheckpointInvalid


def test_a_tensor_that_is_not_finite_or_not_of_floats_is_refused(tmp_path, labels):
    checkpoint = make_checkpoint("ar")
    checkpoint["task/pnr"]["net.1.bias"][3] = float("nan")
    assert "net.1.bias holds values that are not finite" in refusal(tmp_path, labels, checkpoint)
    checkpoint["task/pnr"]["net.1.bias"] = torch.zeros(SMALL.width, dtype=torch.int64)
    assert "'net.1.bias' is not a named dense tensor" in refusal(tmp_path, labels, checkpoint)


def test_an_unknown_entry_or_no_dict_is_refused(tmp_path, labels):
    assert "optimizer" in refusal(tmp_path, labels, make_checkpoint("ar") | {"optimizer": {}})
    assert "expected a dict" in refusal(tmp_path, labels, [torch.zeros(2)])
    assert "no entry temporal_graph" in refusal(tmp_path, labels, {})
    no_state = make_checkpoint("ar") | {"graphone": torch.zeros(2)}
    assert "graphone: expected a state dict" in refusal(tmp_path, labels, no_state)


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
