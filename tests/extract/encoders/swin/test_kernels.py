"""The kernels compute what the plain trunk does, in Triton's interpreter and on a GPU."""

import copy
import json
import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from extract.encoders.swin.attention import WindowStage
from extract.encoders.swin.trunk import SwinConfig, build_trunk
from tests.extract.encoders.swin.sizes import SIZES

TOLERANCE = {"float32": 2e-6, "bfloat16": 8e-3}
"""Of a difference, beside the greatest number: in bfloat16 a unit of its last place, since the
interpreter cuts numbers off where a GPU rounds them."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Differences of all cases, by size of input; see `interpreted`."""
    out = tmp_path_factory.mktemp("interpreted") / "differences.json"
    command = [sys.executable, "-m", "tests.extract.encoders.swin.interpreted", str(out)]
    subprocess.run(command, check=True, env=os.environ | {"TRITON_INTERPRET": "1"})
    return json.loads(out.read_text())


@pytest.mark.slow(15)
@pytest.mark.parametrize("size", ["x".join(map(str, size)) for size in SIZES])
def test_every_kernel_is_the_plain_operators_at_every_size(found, size):
    differences = found[size]
    assert {name.split(", ")[0] for name in differences} == {
        "attention",
        "gathered",
        "gathered and normed",
        "in place",
        "in place and normed",
    }
    assert {name.split(", ")[1] for name in differences} >= {"float32"}
    for name, difference in differences.items():
        assert difference <= TOLERANCE[name.split(", ")[1]], name


@pytest.mark.slow
def test_small_sizes_are_tried_in_half_precision_too(found):
    assert sum("attention, bfloat16" in differences for differences in found.values()) >= 5


@pytest.mark.slow
def test_a_stage_in_kernels_is_the_stage(found):
    assert found["stage"]["float32"] > 1 - 1e-6
    assert found["stage"]["bfloat16"] > 0.999


@pytest.mark.slow
def test_rows_of_float8_are_scaled_alike(found):
    assert found["quantise"] == {"scale": 0.0, "numbers": 0.0}


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 0.99999), (torch.bfloat16, 0.999)])
@torch.no_grad()
def test_on_a_gpu_the_trunk_in_kernels_is_the_trunk(dtype, least):
    plain = build_trunk(SwinConfig((2, 4, 4), 32, (2, 2, 2), (1, 2, 4), (8, 7, 7))).eval().cuda()
    for parameter in plain.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    trunk = copy.deepcopy(plain).to(dtype)
    for module in trunk.modules():
        if isinstance(module, WindowStage):
            module.in_kernels = True
    for size in SIZES:
        pixels = torch.randn(2, 3, *size, device="cuda")
        found = trunk(pixels.to(dtype)).float()
        assert F.cosine_similarity(found, plain(pixels)).min() > least, size
