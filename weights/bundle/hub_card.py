"""Model card of a bundle as a hub reads it: licence, encoder, data and scores in its head."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from weights.bundle.manifest import Manifest
from weights.storage.hub import EXTRA, front_matter

README_FILE = "README.md"
LICENCES = frozenset(
    ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "cc0-1.0")
    + ("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0")
    + ("cc-by-nc-nd-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0")
)
"""Names of licences that a hub knows and a bundle is likely to have; others are `other` there."""
TASK_TAGS = {
    "ar": "action-recognition",
    "lta": "action-anticipation",
    "oscc": "state-change-classification",
    "pnr": "keyframe-localization",
}
DATASETS = {
    "Ego4D": "ego4d",
    "EPIC-KITCHENS": "epic-kitchens-100",
    "EgoExoLearn": "egoexolearn",
    "CaptainCook4D": "captaincook4d",
    "EGTEA": "egtea",
}
"""Name in a manifest's words on its data -> name of the data set in the head of a card."""
_KIND = "video-classification"


def hub_card(manifest: Manifest, card: str, url: str) -> str:
    """Returns a bundle's model card with the head that a hub reads, and how to serve it.

    Args:
        manifest: of the bundle.
        card: text of its own card.
        url: address that it is pushed to.
    """
    head = front_matter(_values(manifest))
    text = card.strip() or f"# {manifest.name} {manifest.version}"
    return f"""{head}
{text}

## How to serve it

```bash
{EXTRA}
python -m server --bundle {url}
```
"""


def _values(manifest: Manifest) -> dict[str, Any]:
    datasets = _datasets(manifest)
    tasks = [TASK_TAGS.get(task, task) for task in sorted(manifest.skills)]
    encoder, repository = manifest.encoder.get("name"), _origin(manifest).get("repository")
    # A hub takes repositories alone for base models.
    named = [f"encoder-{encoder}"] if encoder and not repository else []
    return {
        "license": _licence(manifest),
        "library_name": "egopack-server",
        "pipeline_tag": _KIND,
        "base_model": repository,
        "datasets": datasets or None,
        "tags": ["egocentric-video", "egopack", *tasks, *named],
        "model-index": _scores(manifest, [*datasets, manifest.name][0]),
    }


def _origin(manifest: Manifest) -> dict[str, Any]:
    """Where the encoder's weights came from: repository, licence; may be empty."""
    found = manifest.encoder.get("origin")
    return found if isinstance(found, dict) else {}


def _licence(manifest: Manifest) -> str:
    """The licence of all that the bundle holds; `other` where it is not one that a hub knows."""
    stated = (manifest.training.get("licence"), _origin(manifest).get("licence"))
    named = {re.sub(r"[\s_]+", "-", str(licence).strip().lower()) for licence in stated if licence}
    return named.pop() if len(named) == 1 and named <= LICENCES else "other"


def _datasets(manifest: Manifest) -> list[str]:
    """Public data sets that the bundle learnt from; what stands in brackets is an aside."""
    words = re.sub(r"\([^)]*\)", "", str(manifest.training.get("data", ""))).lower()
    return [dataset for name, dataset in DATASETS.items() if name.lower() in words]


def _scores(manifest: Manifest, dataset: str) -> list[dict[str, Any]] | None:
    name = str(manifest.training.get("data") or dataset)
    results = [
        {
            "task": {"type": _KIND},
            "dataset": {"type": dataset, "name": name, "split": split},
            "metrics": metrics,
        }
        for split, tasks in manifest.metrics.items()
        if isinstance(tasks, Mapping) and (metrics := list(_metrics(tasks)))
    ]
    return [{"name": manifest.name, "results": results}] if results else None


def _metrics(tasks: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The numbers of a split; a bundle may carry notes beside them."""
    for task, values in sorted(tasks.items()):
        for name, value in sorted(values.items()) if isinstance(values, Mapping) else ():
            is_number = isinstance(value, int | float) and math.isfinite(value)
            if is_number and name != "samples":
                is_accuracy = name == "accuracy" or name.endswith("top1")
                kind = "accuracy" if is_accuracy else name
                yield {"type": kind, "name": f"{task} {name}", "value": round(value, 4)}
