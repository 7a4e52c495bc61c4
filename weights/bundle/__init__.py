"""A bundle: manifest and safetensors, saved, loaded, verified, pushed and pulled."""

from weights.bundle.bundle import (
    ENCODER_FILE,
    FORECASTER_FILE,
    ONNX_FILE,
    Bundle,
    Tensors,
    fingerprint,
    load_bundle,
    save_bundle,
)

__all__ = [
    "ENCODER_FILE",
    "FORECASTER_FILE",
    "ONNX_FILE",
    "Bundle",
    "Tensors",
    "fingerprint",
    "load_bundle",
    "save_bundle",
]
