"""What was measured on this machine, kept as one JSON file for each set of facts it depends on.

Losing a file only costs measuring again, so whatever is wrong with one is logged and no error.
"""

import json
import logging
import os
import platform
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch

logger = logging.getLogger(__name__)

Times = dict[str, dict[str, float]]
"""Windows in a batch, as JSON spells them -> runtime -> milliseconds."""


def machine_facts(device: torch.device) -> dict[str, object]:
    """Returns what of this machine and process decides how long something takes."""
    cpu = device.type == "cpu"
    return {
        "device": _cpu_model() if cpu else torch.cuda.get_device_name(device),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def load(folder: Path | None, facts: Mapping[str, object]) -> Times | None:
    """Returns what was measured under the same facts, or None.

    Args:
        folder: of the measurements, ~ for home; None remembers nothing.
        facts: plain JSON types.
    """
    if folder is None:
        return None
    try:
        return _checked(json.loads(_path(folder, facts).read_bytes()), facts)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: there is no home
        logger.warning("what was measured cannot be used, it is measured again: %s", error)
        return None


def save(folder: Path | None, facts: Mapping[str, object], times: Times) -> None:
    """Keeps a measurement; a reader sees all of it or nothing.

    Args:
        folder: made if it is not there; None remembers nothing.
        facts: plain JSON types.
        times: what was measured.
    """
    if folder is None:
        return
    text = json.dumps({"facts": dict(facts), "times_ms": times}, indent=1) + "\n"
    try:
        path = _path(folder, facts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, suffix=".new", delete=False) as fresh:
            fresh.write(text)
        os.replace(fresh.name, path)
    except (OSError, RuntimeError) as error:
        logger.warning("the measurement is not kept, the next start repeats it: %s", error)


def _path(folder: Path, facts: Mapping[str, object]) -> Path:
    key = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return folder.expanduser() / f"runtime-{key[:16]}.json"


def _checked(record: object, facts: Mapping[str, object]) -> Times:
    """Raises ValueError unless the record is of these facts and holds times."""
    if not isinstance(record, dict) or record.get("facts") != dict(facts):
        raise ValueError("it is no measurement of this machine")
    times = record.get("times_ms")
    if not isinstance(times, dict):
        raise ValueError("it holds no times")
    rows = list(times.values())
    if not rows or not all(isinstance(row, dict) and set(row) == set(rows[0]) for row in rows):
        raise ValueError("it holds no times")
    if not all(isinstance(ms, int | float) and ms > 0 for row in rows for ms in row.values()):
        raise ValueError("it holds times that are none")
    return {str(batch): dict(row) for batch, row in times.items()}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((s.split(":", 1)[1].strip() for s in lines if s.startswith("model name")), "")
