"""The kernels compile for GPUs, and as fast code: no GPU is needed for that."""

import pytest

pytest.importorskip("triton")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from extract.encoders.swin import triton_kernels

ATTENTION = {
    "HEAD": 32,
    "QUERIES": 64,
    "KEYS": 64,
    "CHANNELS": 32,
    "ALIGNED": 16,
    "LONGEST": 0,
    "IS_INTERPRETED": False,
}
NORM = {"ROWS": 8, "WIDTH": 256, "HAS_INDEX": True, "HAS_PADDING": True}
TYPES = {
    "width": "i32",
    "count": "i32",
    "eps": "fp32",
    "scale": "fp32",
    "tiles": "*i32",
    "index": "*i64",
    "padding": "*u8",
}


def assembly(kernel, constants, number, capability, **types):
    """Returns a kernel as assembly, of addresses and a width as aligned as Swin-L's are."""
    types = TYPES | dict.fromkeys(constants, "constexpr") | types
    signature = {name: types.get(name, number) for name in kernel.arg_names}
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*") or name == "width"
    }
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, places, aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["ptx"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.slow(4)
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("number", ["*bf16", "*fp16", "*fp32"])
def test_attention_compiles_to_wide_loads_and_products_of_tiles(number, capability):
    ptx = assembly(triton_kernels.box_attention, ATTENTION, number, capability)
    assert "cp.async" in ptx
    assert "ld.global.b16" not in ptx  # a number at a time, where a mask ends anywhere
    if number == "*fp32":
        assert "tf32" not in ptx
    else:
        assert ("wgmma.mma_async" if capability == 90 else "mma.sync") in ptx


@pytest.mark.slow(2)
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("number", ["*bf16", "*fp32"])
def test_the_norm_compiles_with_and_without_a_gather(number, is_first):
    constants = NORM | {"HAS_INDEX": is_first, "HAS_PADDING": is_first}
    ptx = assembly(triton_kernels.gather_norm, constants, number, 80)
    assert "ld.global.v" in ptx
    assert "ld.global.b16" not in ptx


def test_rows_of_float8_are_rounded_by_the_device():
    constants = {"GREATEST": 448.0, "LEAST": 1e-12, "ROWS": 8, "WIDTH": 256}
    ptx = assembly(triton_kernels.quantise, constants, "*bf16", 90, out="*fp8e4nv", scale="*fp32")
    assert "cvt.rn.satfinite.e4m3x2.f32" in ptx
    assert "div.rn.f32" in ptx  # as torch divides, so that both give the same numbers
