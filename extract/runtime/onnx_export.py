"""ONNX export of a bundle's encoder: python -m extract.runtime.onnx_export BUNDLE.

The graph is small: its weights are those of encoder.safetensors beside it. It is written only if
its features are those of the encoder in torch. Exit status: 0 written, 1 not written.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from extract.contract import FeatureContract
from extract.encoders.library.trunk import LibraryConfig
from extract.encoders.load import encoder_from_spec
from extract.encoders.swin.trunk import SwinConfig
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime.onnx_encoder import OnnxEncoder
from extract.runtime.onnx_graph import StoredTensor, swin_graph
from extract.runtime.traced_graph import traced_graph
from weights.bundle import ENCODER_FILE, ONNX_FILE, load_bundle, save_bundle
from weights.errors import WeightsError

logger = logging.getLogger(__name__)

BATCHES = (1, 2, 5)
"""Batch sizes for which features are compared."""
TOLERANCE = 1e-4
"""Greatest difference of a feature, relative to the greatest feature where that is above one."""


def is_exportable(encoder: TorchEncoder) -> bool:
    """Returns whether a graph can be written for the encoder: a video Swin's, or a library's."""
    return isinstance(encoder.config, SwinConfig | LibraryConfig)


def export_encoder(encoder: TorchEncoder, *, batches: Sequence[int] = BATCHES) -> bytes:
    """Returns the encoder as `encoder.onnx`, for windows of its contract's size.

    The same encoder gives the same bytes.

    Raises:
        ValueError: it is another network, one that cannot be traced, or of another precision.
        ArithmeticError: the graph's features are not the encoder's.
    """
    config, tensors = encoder.config, encoder.state_dict()
    if not is_exportable(encoder):
        raise ValueError(
            "only a video Swin or a library's network can be exported, "
            f"{encoder.name!r} is of kind {config.kind}"
        )
    if any(t.is_floating_point() and t.dtype != torch.float32 for t in tensors.values()):
        raise ValueError(f"only float32 weights can be exported, {encoder.name!r} has others")
    stored = stored_tensors(tensors)
    if isinstance(config, SwinConfig):
        model = swin_graph(config, encoder.contract, stored, ENCODER_FILE)
    else:
        model = traced_graph(encoder, stored, ENCODER_FILE)
    graph: bytes = model.SerializeToString(deterministic=True)
    exported = OnnxEncoder(encoder, graph)
    for batch in batches:
        windows = made_up_windows(encoder.contract, batch)
        difference = greatest_difference(encoder.encode(windows), exported.encode(windows))
        if not difference <= TOLERANCE:
            raise ArithmeticError(
                f"the graph of {encoder.name!r} differs from torch by {difference:.1e} on "
                f"{batch} windows, at most {TOLERANCE:.0e} is allowed; it was not written"
            )
    return graph


def stored_tensors(tensors: Mapping[str, Tensor]) -> dict[str, StoredTensor]:
    """Returns the position of each tensor in the safetensors file of them all."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    start = 8 + int.from_bytes(data[:8], "little")  # length of the header, header, tensors
    header = json.loads(data[8:start])
    return {
        name: StoredTensor(tuple(facts["shape"]), start + begin, end - begin)
        for name, facts in header.items()
        if name != "__metadata__"
        for begin, end in (facts["data_offsets"],)
    }


def made_up_windows(contract: FeatureContract, batch: int) -> Tensor:
    """Returns windows of noise, (B, T, crop_height, crop_width, 3) uint8."""
    shape = (batch, *contract.window_shape, 3)
    return torch.randint(
        256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(batch)
    )


def greatest_difference(expected: Tensor, found: Tensor) -> float:
    """Returns the greatest difference of features, relative to the greatest where above one."""
    expected, found = expected.cpu(), found.cpu()
    return float((expected - found).abs().max() / expected.abs().max().clamp(min=1))


class _Options(argparse.Namespace):
    bundle: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m extract.runtime.onnx_export", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "bundle", type=Path, help="folder of the bundle; its other files stay as they are"
    )
    folder = parser.parse_args(arguments, namespace=_Options()).bundle
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        bundle = load_bundle(folder)
        if not bundle.encoder:
            raise ValueError(f"the bundle in {folder} holds no encoder")
        graph = export_encoder(encoder_from_spec(bundle.manifest.encoder, bundle.encoder))
    except (WeightsError, ValueError, ArithmeticError) as error:
        logger.error("%s", error)
        return 1
    save_bundle(replace(bundle, encoder_onnx=graph), folder)
    logger.info("%s: %d bytes", folder / ONNX_FILE, len(graph))
    return 0


if __name__ == "__main__":
    sys.exit(main())
