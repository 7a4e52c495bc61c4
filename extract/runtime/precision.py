"""Reduced precision (bf16, fp16) of an encoder, checked by the cosine to its fp32 features."""

import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from extract.contract import FeatureContract
from extract.encoders.torch_encoder import TorchEncoder

PRECISIONS: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
LEAST_COSINE = 0.999
"""Least cosine of a vector in a reduced precision and the same in fp32."""


def in_precision(encoder: TorchEncoder, precision: str) -> TorchEncoder:
    """Returns the encoder with its weights cast; itself if they have that type already.

    The types of the tensors are part of the fingerprint, so features of one precision are never
    taken for those of another. Norms and softmax sum in fp32, as torch does in any type.

    Raises:
        ValueError: the precision is unknown or without gain on this device, or a feature vector
            of the probe has a cosine below `LEAST_COSINE`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    dtype, current = PRECISIONS[precision], next(encoder.trunk.parameters()).dtype
    if current == dtype:
        return encoder
    if current != torch.float32:
        raise ValueError(f"expected an encoder in fp32 to start from, this one is in {current}")
    if precision == "fp16" and encoder.device.type == "cpu":
        raise ValueError("fp16 gains nothing on a CPU: choose bf16 or fp32")
    trunk = copy.deepcopy(encoder.trunk).to(dtype)
    reduced = TorchEncoder(encoder.name, encoder.config, encoder.contract, trunk, encoder.origin)
    windows = probe_windows(encoder.contract).to(encoder.device)
    cosine = least_cosine(reduced.encode(windows), encoder.encode(windows))
    if not cosine >= LEAST_COSINE:
        raise ValueError(
            f"encoder {encoder.name!r} in {precision}: expected features as in fp32 "
            f"(cosine >= {LEAST_COSINE}), the least is {cosine:.5f}: choose another precision"
        )
    return reduced


def probe_windows(contract: FeatureContract, *, count: int = 2) -> Tensor:
    """Returns windows to compare encoders on, (count, T, H, W, 3) uint8, from a fixed seed.

    Smooth moving shapes with noise, similar to pictures.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 6, 8, generator=generator)
    shapes = F.interpolate(coarse, contract.window_shape, mode="trilinear", align_corners=False)
    noise = 0.1 * torch.randn(shapes.shape, generator=generator)
    pixels = (255 * (shapes + noise)).clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 4, 1).contiguous()


def least_cosine(found: Tensor, expected: Tensor) -> float:
    """Returns the least cosine between rows of the two, (B, D) each; NaN where one has a NaN."""
    return float(F.cosine_similarity(found.double(), expected.double()).min())
