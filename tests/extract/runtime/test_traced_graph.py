"""Networks of libraries in ONNX Runtime: features of torch, weights of the bundle's own file."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from extract.encoders.library.trunk import LibraryConfig, contract_of
from extract.encoders.load import load_named_encoder
from extract.encoders.torch_encoder import TorchEncoder
from extract.errors import RuntimeUnavailable
from extract.runtime.choose import Runtime, choose_encoder
from extract.runtime.onnx_encoder import OnnxEncoder
from extract.runtime.onnx_export import export_encoder, made_up_windows
from tests.extract.encoders.library import models
from tests.support.published import fetch_small, use_small

pytestmark = pytest.mark.slow(25)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    name, arguments = models.PE_CORE
    specs = {
        "vjepa2": f"hf:{models.save_vjepa2(folder / 'v')}",
        "siglip2": f"hf:{models.save_siglip2(folder / 's')}",
        "pe-core": f"timm:{models.save_timm(folder / 'p', name, **arguments)}",
    }
    return {k: load_named_encoder(spec, accept_license=True) for k, spec in specs.items()}


@pytest.mark.parametrize("name", ["vjepa2", "siglip2", "pe-core"])
def test_features_are_those_of_torch_and_weights_stay_outside(encoders, name):
    encoder = encoders[name]
    graph = export_encoder(encoder, batches=(1, 3))
    stored = onnx.load_model_from_string(graph).graph.initializer
    inside = [tensor for tensor in stored if tensor.data_location != TensorProto.EXTERNAL]
    assert {tensor.name for tensor in stored} - {tensor.name for tensor in inside} <= set(
        encoder.state_dict()
    )
    assert sum(len(tensor.raw_data) for tensor in inside) < 1000

    chosen, choice = choose_encoder(encoder, graph, Runtime("onnx"))
    assert isinstance(chosen, OnnxEncoder)
    assert (choice.name, chosen.fingerprint) == ("onnx", encoder.fingerprint)
    windows = made_up_windows(encoder.contract, 5)
    expected = encoder.encode(windows)
    torch.testing.assert_close(chosen.encode(windows), expected, rtol=0, atol=1e-5)
    prepared = np.stack([chosen.prepare(window) for window in windows.numpy()])
    torch.testing.assert_close(
        chosen.encode(torch.from_numpy(prepared)), expected, rtol=0, atol=1e-5
    )


@dataclass(frozen=True)
class Made(LibraryConfig):
    """A library's network that is made up here."""

    kind: ClassVar[str] = "made"
    trunk: ClassVar[type[nn.Module]]

    def build(self):
        return self.trunk()

    def pixels(self, frames):
        return torch.from_numpy(frames).permute(0, 3, 1, 2) / 255


class Deciding(nn.Module):
    """Decides by the values of its input, which a trace does not."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, pixels):
        means = pixels.mean((2, 3, 4)) * self.weight
        return means if float(means.sum()) == 0 else -means


class Untraceable(Deciding):
    """Has an operation without a counterpart."""

    def forward(self, pixels):
        return torch.linalg.eigh(torch.eye(3) * pixels.mean())[0][None] * self.weight


def made(trunk):
    config = type("Config", (Made,), {"trunk": trunk})("last", "mean", 3)
    return TorchEncoder("made", config, contract_of((8, 8), (None, None), None, {}))


def test_a_network_that_decides_by_its_input_is_found_out():
    with pytest.raises(ArithmeticError, match="differs from torch"):
        export_encoder(made(Deciding))


def test_a_network_that_cannot_be_traced_says_so():
    with pytest.raises(ValueError, match="'made' cannot be written as an ONNX graph"):
        export_encoder(made(Untraceable))


def test_a_network_without_an_export_names_the_runtime_to_take(tmp_path, monkeypatch):
    use_small(monkeypatch)
    encoder = load_named_encoder("slowfast-r101", weights=fetch_small(tmp_path))
    with pytest.raises(RuntimeUnavailable, match="no ONNX export .* kind slowfast: set"):
        choose_encoder(encoder, b"", Runtime("onnx"))
    chosen, choice = choose_encoder(encoder, b"", Runtime("auto"))
    assert chosen is encoder
    assert "no export of such a network" in choice.reason
