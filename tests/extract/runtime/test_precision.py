import pytest
import torch

from extract.runtime import precision
from extract.runtime.precision import in_precision, probe_windows


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
