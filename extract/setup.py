"""What a run is told about its encoder -> the encoder, ready to run or only to be compared with."""

import argparse

import torch

from extract.encoders.encoder import VideoEncoder
from extract.encoders.torch_encoder import TorchEncoder
from extract.named import load_named_encoder
from extract.runtime.choose import Runtime, choose_encoder
from extract.runtime.onnx_export import export_encoder, is_exportable
from extract.runtime.precision import PRECISIONS


def load_encoder(options: argparse.Namespace) -> VideoEncoder:
    """Returns the encoder of a run, on its device and in its runtime.

    Raises:
        WeightsError: it is not there, or not what it was.
        RuntimeUnavailable: what was asked to run it is not there.
        ValueError: it is no encoder.
    """
    encoder = _named(options)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    runtime = Runtime(options.runtime, precision=options.precision, execution=options.execution)
    wants_graph = runtime.name != "torch" and runtime.is_plain and is_exportable(encoder)
    graph = export_encoder(encoder) if wants_graph else b""
    chosen, _ = choose_encoder(encoder.to(device), graph, runtime)
    return chosen


def describe_encoder(options: argparse.Namespace) -> VideoEncoder:
    """Returns an encoder with the fingerprint of `load_encoder`'s, for a machine that runs none.

    Raises:
        WeightsError: it is not there, or not what it was.
        ValueError: it is no encoder.
    """
    encoder = _named(options)
    trunk = encoder.trunk.to(PRECISIONS[options.precision])
    return TorchEncoder(encoder.name, encoder.config, encoder.contract, trunk)


def _named(options: argparse.Namespace) -> TorchEncoder:
    return load_named_encoder(options.encoder, weights=options.weights, color=options.color)
