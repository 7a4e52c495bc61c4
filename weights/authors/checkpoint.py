"""Safe reader of foreign checkpoints: numbers and plain containers only, never objects."""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from weights.errors import CheckpointInvalid


@dataclass(frozen=True, eq=False)
class Entry:
    """One state dict of a checkpoint.

    Attributes:
        file: path of the checkpoint, for errors.
        name: of the entry in it.
        tensors: under their names there.
    """

    file: str
    name: str
    tensors: dict[str, Tensor]

    def error(self, detail: str) -> CheckpointInvalid:
        """Returns an error about this entry."""
        return CheckpointInvalid(self.file, f"{self.name}: {detail}")

    def names_under(self, prefix: str) -> list[str]:
        """Returns the distinct next parts of the names that start with a prefix, in order."""
        start = f"{prefix}."
        rest = (n.removeprefix(start) for n in self.tensors if n.startswith(start))
        return list(dict.fromkeys(name.split(".")[0] for name in rest))


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state dicts in a file of `torch.save`.

    Attributes:
        file: its path, as the caller gave it.
        sha256: of its bytes.
        entries: name -> state dict; entries that are None are left out.
    """

    file: str
    sha256: str
    entries: dict[str, Entry]


def read_checkpoint(path: Path, *, entries: frozenset[str], facts: frozenset[str]) -> Checkpoint:
    """Reads a checkpoint without executing code from it.

    Args:
        path: of the file.
        entries: names of state dicts that may be there.
        facts: names of other entries that may be there and are ignored.

    Raises:
        CheckpointInvalid: it cannot be read, is not plain data, or holds another entry.
    """
    file = str(path)
    found = _read_dict(path)
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    unknown = sorted(map(str, found.keys() - entries - facts))
    if unknown:
        raise CheckpointInvalid(
            file, f"unknown entries {', '.join(unknown)}; expected {', '.join(sorted(entries))}"
        )
    named = {name: found[name] for name in sorted(entries) if found.get(name) is not None}
    return Checkpoint(file, sha256, {n: _entry(file, n, state) for n, state in named.items()})


def read_state(path: Path, entry: str) -> Entry:
    """Reads one state dict of a checkpoint and ignores the others; integer tensors are allowed.

    Raises:
        CheckpointInvalid: it cannot be read, is not plain data, or has no such state dict.
    """
    found = _read_dict(path)
    if entry not in found:
        raise CheckpointInvalid(
            str(path), f"no entry {entry!r}, only {', '.join(sorted(map(str, found))) or 'none'}"
        )
    return _entry(str(path), entry, found[entry], floats=False)


def _read_dict(path: Path) -> Mapping[str, object]:
    """Unpickles tensors and plain containers; raises CheckpointInvalid for all else."""
    file = str(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointInvalid(file, f"cannot be read: {error.strerror}") from error
    except Exception as error:  # malformed pickles raise anything
        raise CheckpointInvalid(
            file,
            "is damaged, or holds more than tensors and plain containers; loading that could run "
            "code, so it was not loaded. Where you trust it, save its state dicts alone",
        ) from error
    if not isinstance(found, Mapping):
        raise CheckpointInvalid(file, f"expected a dict, found a {type(found).__name__}")
    return found


def _entry(file: str, name: str, state: object, *, floats: bool = True) -> Entry:
    if not isinstance(state, Mapping):
        found = type(state).__name__
        raise CheckpointInvalid(file, f"{name}: expected a state dict, found a {found}")
    what = "tensor of floats" if floats else "tensor of numbers"
    for key, value in state.items():
        if not isinstance(key, str) or not _is_plain(value, floats=floats):
            raise CheckpointInvalid(file, f"{name}: {key!r} is not a named dense {what}")
    return Entry(file, name, dict(state))


def _is_plain(value: object, *, floats: bool) -> bool:
    return (
        isinstance(value, Tensor)
        and (value.is_floating_point() or not (floats or value.is_complex() or value.is_quantized))
        and value.layout is torch.strided
        and value.device.type == "cpu"
    )
