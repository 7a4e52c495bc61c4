"""Published encoders of transformers and timm in their true shapes, with random weights, on a CPU.

Times the preprocessing of a frame and the network on a window, and counts its parameters. Weights
of training would take the same time; no feature here means anything.
"""

import argparse
import time
from typing import Any, Literal

import numpy as np
import torch

from extract.encoders.library.timm_models import TimmConfig
from extract.encoders.library.transformers_models import TransformersConfig
from extract.encoders.library.trunk import LibraryConfig, contract_of
from extract.encoders.torch_encoder import TorchEncoder, Uninitialised
from weights.published.encoders import ENCODERS

_VJEPA2 = {"model_type": "vjepa2", "crop_size": 256, "frames_per_clip": 64}
_SIGLIP = {"model_type": "siglip_vision_model", "image_size": 224}

SHAPES: dict[str, dict[str, Any]] = {
    "vjepa2-l": _VJEPA2 | {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "vjepa2-h": _VJEPA2 | {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16},
    "vjepa2-g": _VJEPA2
    | {"hidden_size": 1408, "num_hidden_layers": 40, "num_attention_heads": 22}
    | {"mlp_ratio": 48 / 11},
    "siglip2-b": _SIGLIP
    | {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    | {"num_attention_heads": 12, "patch_size": 16},
    "siglip2-so400m": _SIGLIP
    | {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27}
    | {"num_attention_heads": 16, "patch_size": 14},
}
"""Configurations of the published models of transformers; timm knows those of its own."""

FRAME = (720, 1280)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="of " + ", ".join(ENCODERS) + "; default: two"
    )
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures each encoder.

    Raises:
        ValueError: a name is none of the catalogue's.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        rows = {
            name: _row(made_up(name), arguments.rounds)
            for name in arguments.names or ("siglip2-b", "pe-core-t")
        }
    finally:
        torch.set_num_threads(before)
    return {"threads": arguments.threads, "frame": list(FRAME), "rows": rows}


def made_up(name: str) -> TorchEncoder:
    """Returns an encoder of the catalogue with random weights.

    Raises:
        ValueError: the catalogue has no such name.
    """
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}; known: {', '.join(ENCODERS)}")
    known = ENCODERS[name]
    config = config_of(name)
    with Uninitialised():
        trunk = config.build()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in trunk.parameters():
            tensor.normal_(0, 0.02, generator=generator)
    frames = known.frames if known.library == "hf" and "fpc" in known.repository else None
    contract = contract_of((known.pixels, known.pixels), (None, None), frames, {})
    return TorchEncoder(name, config, contract, trunk.requires_grad_(False))


def config_of(name: str) -> LibraryConfig:
    """Returns the configuration of a published encoder."""
    known = ENCODERS[name]
    size = {"height": known.pixels, "width": known.pixels}
    if known.library == "timm":
        data = {"input_size": [3, known.pixels, known.pixels], "crop_pct": 1.0}
        architecture = known.repository.partition("/")[2]
        return TimmConfig("last", "pooled", known.width, architecture, {}, data)
    takes: Literal["video", "image"] = "video" if "crop_size" in SHAPES[name] else "image"
    processor: dict[str, Any] = {"image_processor_type": "SiglipImageProcessor", "size": size}
    if takes == "video":
        processor = {"video_processor_type": "VJEPA2VideoProcessor", "crop_size": size}
    pooling: Literal["mean", "pooled"] = "mean" if takes == "video" else "pooled"
    return TransformersConfig("last", pooling, known.width, SHAPES[name], processor, takes)


def _row(encoder: TorchEncoder, rounds: int) -> dict[str, Any]:
    contract = encoder.contract
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (contract.window_shape[0], *FRAME, 3), np.uint8)
    prepared, window_s = frames, []
    prepare_s = []
    for _ in range(rounds):
        prepare_s.append(-time.process_time())
        prepared = encoder.prepare(frames)
        prepare_s[-1] += time.process_time()
        window_s.append(-time.process_time())
        features = encoder.encode(torch.from_numpy(prepared)[None])
        window_s[-1] += time.process_time()
        if features.shape != (1, encoder.dim):
            raise ArithmeticError(f"expected (1, {encoder.dim}), got {tuple(features.shape)}")
    return {
        "parameters": sum(tensor.numel() for tensor in encoder.trunk.parameters()),
        "width": encoder.dim,
        "frames": contract.window_shape[0],
        "prepare_ms_a_frame": round(1000 * min(prepare_s) / len(frames), 2),
        "cpu_s_a_window": round(min(window_s), 3),
    }


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    lines = [f"{'encoder':<16}{'M parameters':>14}{'width':>7}{'frames':>8}{'ms a frame':>12}"
             f"{'CPU s a window':>16}"]  # fmt: skip
    for name, row in figures["rows"].items():
        lines.append(
            f"{name:<16}{row['parameters'] / 1e6:>14.0f}{row['width']:>7}{row['frames']:>8}"
            f"{row['prepare_ms_a_frame']:>12.1f}{row['cpu_s_a_window']:>16.2f}"
        )
    return "\n".join(lines)
