"""What is refused of a checkpoint, and why."""

import pytest
import torch

from weights.authors.convert import import_authors
from weights.errors import CheckpointInvalid


def save(folder, checkpoint, name="checkpoint.pth"):
    torch.save(checkpoint, folder / name)
    return folder / name


def refusal(tmp_path, labels, checkpoint):
    with pytest.raises(CheckpointInvalid) as caught:
        import_authors([save(tmp_path, checkpoint)], taxonomy=labels[0])
    assert caught.value.file == str(tmp_path / "checkpoint.pth")
    return caught.value.detail
