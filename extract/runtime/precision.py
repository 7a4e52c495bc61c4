"""Reduced precision of an encoder (bf16, fp16, fp8), checked by the cosine to its fp32 features."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from extract.contract import FeatureContract
from extract.encoders.swin.attention import WindowStage
from extract.encoders.swin.float8 import LEAST_CAPABILITY, Float8Linear
from extract.encoders.torch_encoder import TorchEncoder

PRECISIONS: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8": torch.bfloat16,
}
"""Precision -> type of the tensors; in fp8 that of all but the weights of later stages."""

FLOAT8_STAGES = slice(1, None)
"""Stages of a video Swin that have weights in fp8: the first is narrow, its products short."""
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
    current = precision_of(encoder.trunk)
    if current == precision:
        return encoder
    if current != "fp32":
        raise ValueError(f"expected an encoder in fp32 to start from, this one is in {current}")
    _check_device(precision, encoder.device)
    trunk = cast(copy.deepcopy(encoder.trunk), precision)
    reduced = TorchEncoder(encoder.name, encoder.config, encoder.contract, trunk, encoder.origin)
    windows = probe_windows(encoder.contract).to(encoder.device)
    cosine = least_cosine(reduced.encode(windows), encoder.encode(windows))
    if not cosine >= LEAST_COSINE:
        raise ValueError(
            f"encoder {encoder.name!r} in {precision}: expected features as in fp32 "
            f"(cosine >= {LEAST_COSINE}), the least is {cosine:.5f}: choose another precision"
        )
    return reduced


def cast(trunk: nn.Module, precision: str) -> nn.Module:
    """Returns a trunk in fp32 with its tensors in another precision; it is changed.

    Raises:
        ValueError: it is not for fp8.
    """
    dtype = PRECISIONS[precision]
    if precision != "fp8":
        return trunk.to(dtype)
    stages = [module for module in trunk.modules() if isinstance(module, WindowStage)]
    if not stages[FLOAT8_STAGES]:
        raise ValueError("fp8 is for the later stages of a video Swin, and this network has none")
    quantised = {
        stage: {n: Float8Linear(m) for n, m in stage.named_modules() if isinstance(m, nn.Linear)}
        for stage in stages[FLOAT8_STAGES]
    }
    trunk.to(dtype)  # of the whole; the layers above are made from weights in fp32
    for stage, layers in quantised.items():
        for name, layer in layers.items():
            stage.set_submodule(name, layer)
    return trunk.eval()


def precision_of(trunk: nn.Module) -> str:
    """Returns which of `PRECISIONS` a trunk is in."""
    if any(isinstance(module, Float8Linear) for module in trunk.modules()):
        return "fp8"
    dtype = next(trunk.parameters()).dtype
    return next((name for name, known in PRECISIONS.items() if known == dtype), str(dtype))


def _check_device(precision: str, device: torch.device) -> None:
    if precision in ("fp16", "fp8") and device.type == "cpu":
        raise ValueError(f"{precision} gains nothing on a CPU: choose bf16 or fp32")
    if precision == "fp8" and torch.cuda.get_device_capability(device) < LEAST_CAPABILITY:
        least, has = LEAST_CAPABILITY, torch.cuda.get_device_capability(device)
        raise ValueError(
            f"fp8 needs a GPU of compute capability {least[0]}.{least[1]} or more, this one has "
            f"{has[0]}.{has[1]}: choose bf16"
        )


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
