import pytest
import torch

from extract.encoders.swin.float8 import Float8Linear
from extract.encoders.swin.trunk import SwinConfig
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime import precision
from extract.runtime.compiled import prepare
from extract.runtime.precision import cast, in_precision, precision_of, probe_windows


def test_bf16_stays_close_and_has_a_fingerprint_of_its_own(tiny_encoder, windows):
    before = tiny_encoder.fingerprint
    reduced = in_precision(tiny_encoder, "bf16")
    assert {p.dtype for p in reduced.trunk.parameters()} == {torch.bfloat16}
    found, expected = reduced.encode(windows), tiny_encoder.encode(windows)
    assert found.dtype is torch.float32
    assert not torch.equal(found, expected)
    assert precision.least_cosine(found, expected) >= 0.999
    assert reduced.fingerprint != before == tiny_encoder.refresh_fingerprint()


def test_fp32_is_the_encoder_itself(tiny_encoder):
    assert in_precision(tiny_encoder, "fp32") is tiny_encoder


def test_a_precision_that_moves_the_features_is_refused(tiny_encoder):
    with torch.no_grad():  # a great common part, which the first norm takes away, or bf16 drowns in
        tiny_encoder.trunk.patch_embed.proj.bias.add_(1e3)
    with pytest.raises(ValueError, match=r"cosine >= 0\.999.*choose another precision"):
        in_precision(tiny_encoder, "bf16")


def test_features_that_are_no_numbers_are_refused(tiny_encoder):
    with torch.no_grad():
        tiny_encoder.trunk.norm.bias[0] = float("nan")
    with pytest.raises(ValueError, match="cosine"):
        in_precision(tiny_encoder, "bf16")


def test_a_reduced_encoder_is_not_reduced_again(tiny_encoder):
    reduced = in_precision(tiny_encoder, "bf16")
    with pytest.raises(ValueError, match="expected an encoder in fp32"):
        in_precision(reduced, "fp32")


def test_the_probe_is_always_the_same_and_leaves_the_random_state_alone(tiny_contract):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again = probe_windows(tiny_contract), probe_windows(tiny_contract)
    assert torch.equal(first, again)
    assert first.float().std() > 20
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def wide_encoder(tiny_contract, monkeypatch):
    """Three stages of widths that fp8 takes; a CPU, which emulates it, is let in."""
    monkeypatch.setattr(precision, "_check_device", lambda name, device: None)
    config = SwinConfig((2, 8, 8), 16, (2, 2, 1), (1, 2, 4), (2, 3, 4))
    return TorchEncoder("wide", config, tiny_contract)


def test_fp8_is_for_the_products_of_the_later_stages_and_has_a_fingerprint(wide_encoder, windows):
    reduced = in_precision(wide_encoder, "fp8")
    in_float8 = [n for n, m in reduced.trunk.named_modules() if isinstance(m, Float8Linear)]
    assert {name.split(".")[1] for name in in_float8} == {"2", "4"}  # mergings are between
    assert len(in_float8) == 3 * 4
    cosine = precision.least_cosine(reduced.encode(windows), wide_encoder.encode(windows))
    assert 0.999 <= cosine < 1
    in_bf16 = in_precision(wide_encoder, "bf16")
    prints = {encoder.fingerprint for encoder in (wide_encoder, reduced, in_bf16)}
    assert len(prints) == 3
    assert precision_of(reduced.trunk) == "fp8"
    assert in_precision(reduced, "fp8") is reduced


def test_fp8_that_moves_the_features_is_refused_where_bf16_is_not(wide_encoder):
    """A channel that outgrows the others takes all of a row's eight bits, used or not."""
    stage = wide_encoder.trunk.features[2]
    with torch.no_grad():
        for block in stage:
            block.norm1.weight[0] = block.norm2.weight[0] = 1e7
            block.attn.qkv.weight[:, 0] = block.mlp[0].weight[:, 0] = 0.0
            block.mlp[3].weight.mul_(30)
    in_precision(wide_encoder, "bf16")
    with pytest.raises(ValueError, match=r"in fp8: .*cosine >= 0\.999.*choose another precision"):
        in_precision(wide_encoder, "fp8")


def test_a_trunk_that_is_cast_has_the_fingerprint_of_the_encoder_that_runs(wide_encoder):
    running = in_precision(wide_encoder, "fp8")
    trunk = cast(wide_encoder.trunk, "fp8")
    described = TorchEncoder("wide", wide_encoder.config, wide_encoder.contract, trunk)
    assert described.fingerprint == running.fingerprint


def test_fp8_is_refused_where_nothing_is_there_for_it(tiny_encoder, monkeypatch):
    with pytest.raises(ValueError, match="fp8 gains nothing on a CPU"):
        in_precision(tiny_encoder, "fp8")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    with pytest.raises(ValueError, match=r"capability 8\.9 or more, this one has 8\.0"):
        precision._check_device("fp8", torch.device("cuda"))
    with pytest.raises(ValueError, match="video Swin"):
        cast(torch.nn.Linear(16, 16), "fp8")
    monkeypatch.setattr(precision, "_check_device", lambda name, device: None)
    with pytest.raises(ValueError, match="multiples of 16"):
        in_precision(tiny_encoder, "fp8")


@pytest.mark.gpu
def test_on_a_gpu_fp8_is_close_in_every_execution(tiny_contract, windows):
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no products of 8 bits")
    config = SwinConfig((2, 8, 8), 16, (2, 2, 1), (1, 2, 4), (2, 3, 4))
    encoder = TorchEncoder("wide", config, tiny_contract)
    expected = encoder.encode(windows)
    encoder.to("cuda")
    for execution in ("eager", "kernels", "graph"):
        ready = prepare(encoder, precision="fp8", execution=execution)
        assert precision.least_cosine(ready.encode(windows).cpu(), expected) >= 0.999
