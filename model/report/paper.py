"""EgoPack's published figures on Ego4D v1, as shares: what a run on Ego4D stands beside."""

from collections.abc import Mapping
from typing import Any

PAPER: dict[str, dict[str, dict[str, float]]] = {
    "val": {  # Table 1
        "ar": {"verb_top1": 0.2510, "noun_top1": 0.3110},
        "lta": {"verb_ed": 0.728, "noun_ed": 0.752},
        "oscc": {"accuracy": 0.7183},
        "pnr": {"error_s": 0.61},
    },
    "test": {  # Table 3; OSCC there is answered from SlowFast features
        "lta": {"verb_ed": 0.721, "noun_ed": 0.735, "action_ed": 0.925},
        "oscc": {"accuracy": 0.721},
        "pnr": {"error_s": 0.66},
    },
}


def learnt_from_ego4d(training: Mapping[str, Any]) -> bool:
    """Tells whether a manifest's training facts name Ego4D as the data.

    A generated world's figures say nothing beside the paper's and are never shown so.
    """
    return str(training.get("data", "")).lower().startswith("ego4d")
