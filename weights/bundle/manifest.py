"""Manifest of a bundle: JSON that describes its tensors and lists its files with their hashes."""

from dataclasses import dataclass, field, fields
from typing import Any

from weights.errors import BundleError

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
OPTIONAL = frozenset({"forecaster"})
"""Keys of parts that a bundle may lack."""


@dataclass(frozen=True)
class Manifest:
    """Everything needed to rebuild a model from its tensors alone.

    Attributes:
        name: of the bundle, as callers see it.
        version: of the bundle.
        encoder: name, kind, config, contract and fingerprint of the video encoder.
        model: the `ModelConfig` as plain values.
        backbones: name -> known tasks and fingerprint of its tensors.
        skills: task -> its spec, the backbone it runs on, the perspectives it uses.
        label_spaces: label space -> names by id.
        calibration: "task.output" -> temperature and expected calibration error before and after.
        training: data, licence, seeds, command and times.
        metrics: split -> task -> metric -> value.
        baselines: split -> name -> task -> metric -> value, of predictions without input.
        forecaster: config of the sequence forecaster and number of its pairs; empty without one,
            and then not in the file, as in older bundles.
        files: file name -> SHA-256 and size.
        format_version: layout of this file.
    """

    name: str
    version: str
    encoder: dict[str, Any]
    model: dict[str, Any]
    backbones: dict[str, dict[str, Any]]
    skills: dict[str, dict[str, Any]]
    label_spaces: dict[str, list[str]]
    calibration: dict[str, dict[str, float]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    baselines: dict[str, Any] = field(default_factory=dict)
    forecaster: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON types; `from_dict` is the inverse."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in values.items() if v or k not in OPTIONAL}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Manifest":
        """Parses a manifest; raises BundleError for a wrong key, type or format version."""
        found = values.get("format_version")
        if found != FORMAT_VERSION:
            raise BundleError(
                MANIFEST_FILE, expected=f"format_version {FORMAT_VERSION}", found=repr(found)
            )
        known = {f.name: f for f in fields(cls)}
        needed = set(known) - OPTIONAL
        wrong_type = [
            key
            for key, kind in (("name", str), ("version", str), ("encoder", dict), ("files", dict))
            if not isinstance(values.get(key), kind)
        ]
        wrong_type += [k for k in OPTIONAL & set(values) if not isinstance(values[k], dict)]
        if not needed <= set(values) <= set(known) or wrong_type:
            raise BundleError(
                MANIFEST_FILE,
                expected=f"the keys {', '.join(sorted(needed))}",
                found=f"{', '.join(sorted(values))}; wrong type: {wrong_type or 'none'}",
            )
        return cls(**values)
