"""Benchmark cache: runtimes measured on this machine, one JSON file per set of facts.

A lost file costs a new measurement, so an unusable one is logged and is no error.
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
from pydantic import PositiveFloat, TypeAdapter

logger = logging.getLogger(__name__)

Times = dict[str, dict[str, float]]
"""Windows in a batch, as a JSON key -> runtime -> milliseconds."""
_TIMES = TypeAdapter(dict[str, dict[str, PositiveFloat]])


def machine_facts(device: torch.device) -> dict[str, object]:
    """Returns the facts of this machine and process that determine run times."""
    cpu = device.type == "cpu"
    return {
        "device": _cpu_model() if cpu else torch.cuda.get_device_name(device),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def load(folder: Path | None, facts: Mapping[str, object]) -> Times | None:
    """Returns the times measured under the same facts (plain JSON types); None without a cache."""
    if folder is None:
        return None
    try:
        return _checked(json.loads(_path(folder, facts).read_bytes()), facts)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no home folder
        logger.warning("what was measured cannot be used, it is measured again: %s", error)
        return None


def save(folder: Path | None, facts: Mapping[str, object], times: Times) -> None:
    """Stores a measurement atomically; without a folder, does nothing."""
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
    times: Times = _TIMES.validate_python(record.get("times_ms"), strict=True)
    if len({frozenset(row) for row in times.values()}) != 1:
        raise ValueError("its batch sizes have no times, or those of other runtimes")
    return times


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((s.split(":", 1)[1].strip() for s in lines if s.startswith("model name")), "")
