"""Readers of Ego4D's taxonomy and of the actions in its training annotations."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weights.errors import CheckpointInvalid

_SYNONYMS = re.compile(r"[_ ]*\(.*")


def read_taxonomy(path: Path) -> dict[str, list[str]]:
    """Returns the verbs' and nouns' names by id from `fho_lta_taxonomy.json`.

    Raises:
        CheckpointInvalid: it cannot be read or is malformed.
    """
    values = _read(path)
    labels = {}
    for space in ("verb", "noun"):
        names = values.get(f"{space}s") if isinstance(values, dict) else None
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise CheckpointInvalid(str(path), f"no list of names under {space}s")
        labels[space] = names
    return labels


def is_name(text: object, name: str) -> bool:
    """Whether an action's text is a taxonomy's name, whose synonyms in parentheses do not count."""
    return _bare(str(text)) == _bare(name)


def count_actions(path: Path, labels: Mapping[str, Sequence[str]]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns every (verb, noun) pair of `fho_lta_train.json` and how often it occurs.

    Actions with a null label are skipped; `labels` is what `read_taxonomy` returns.

    Returns:
        Verb ids, noun ids and counts, each (P,) int64, in ascending order of verb * N + noun.

    Raises:
        CheckpointInvalid: it cannot be read, or no action has both labels, or a label is missing,
            not in the taxonomy, or has another name there than in the action.
    """
    values = _read(path)
    rows = values.get("clips") if isinstance(values, dict) else values
    if not isinstance(rows, list) or not rows:
        raise CheckpointInvalid(str(path), "no list of actions under clips")
    rows = [row for row in rows if not _has_null_label(row)]
    if not rows:
        raise CheckpointInvalid(str(path), "no action with a verb_label and a noun_label")
    verb, noun = (
        torch.tensor([_label(path, row, space, labels[space]) for row in rows])
        for space in ("verb", "noun")
    )
    pair, count = (verb * len(labels["noun"]) + noun).unique(return_counts=True)
    return pair // len(labels["noun"]), pair % len(labels["noun"]), count


def _has_null_label(row: Any) -> bool:
    fields = ("verb_label", "noun_label")
    return isinstance(row, dict) and any(row.get(name, "") is None for name in fields)


def _label(path: Path, row: Any, space: str, names: Sequence[str]) -> int:
    label = row.get(f"{space}_label") if isinstance(row, dict) else None
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise CheckpointInvalid(
            str(path),
            f"expected {space}_label from 0 to {len(names) - 1} in every action, found {label!r}",
        )
    text = row.get(space)
    if text is not None and not is_name(text, names[label]):
        raise CheckpointInvalid(
            str(path),
            f"{space}_label {label} is {text!r} in an action and {names[label]!r} in the taxonomy: "
            "take both files from the same release",
        )
    return label


def _bare(name: str) -> str:
    """A name without synonyms, in lower case, with spaces between its words."""
    return _SYNONYMS.sub("", name.strip().casefold()).replace("_", " ")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointInvalid(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointInvalid(str(path), f"is not JSON: {error}") from error
