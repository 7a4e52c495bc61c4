"""Small models of random weights, made and saved by the libraries themselves."""

from pathlib import Path

import numpy as np
import torch

from tests.extract.support.clips import noisy_frames, write_clip

FRAMES = 90
SIZE = (112, 80)


def write_video(path: Path) -> Path:
    """A clip of 90 frames of 112 x 80 pixels, at 30 a second."""
    return write_clip(path, noisy_frames(FRAMES, *SIZE), options={"bf": "2"})


def save_vjepa2(folder: Path) -> Path:
    """V-JEPA 2 with windows of 8 frames of 32 x 32 pixels."""
    from transformers import VJEPA2Config, VJEPA2Model, VJEPA2VideoProcessor

    torch.manual_seed(0)
    config = VJEPA2Config(
        hidden_size=24, num_attention_heads=2, num_hidden_layers=3, mlp_ratio=2, crop_size=32,
        frames_per_clip=8, pred_hidden_size=16, pred_num_attention_heads=2,
        pred_num_hidden_layers=1, pred_num_mask_tokens=2,
    )  # fmt: skip
    VJEPA2Model(config).save_pretrained(folder)
    VJEPA2VideoProcessor(crop_size=32).save_pretrained(folder)
    return folder


def save_siglip2(folder: Path) -> Path:
    """SigLIP 2 of a fixed resolution, with its text model, as published."""
    from transformers import (
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
        SiglipTextConfig,
        SiglipVisionConfig,
    )

    torch.manual_seed(0)
    shape = {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2}
    vision = SiglipVisionConfig(num_hidden_layers=3, image_size=32, patch_size=16, **shape)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    text = SiglipTextConfig(num_hidden_layers=1, vocab_size=30, **ends, **shape)
    config = SiglipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_vit_without_pooler(folder: Path) -> Path:
    """A classifier: loaded as a model it has no pooled output of its own."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=16,
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_timm(folder: Path, architecture: str, **arguments) -> Path:
    """A model of timm, as timm saves it for a hub."""
    import timm
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model(architecture, **arguments).eval()
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 1 and name.endswith(("weight", "running_var")):
            tensor.uniform_(0.5, 1.0)  # a residual network's last norms are zero at first
    save_for_hf(model, str(folder), model_args=dict(arguments), safe_serialization=True)
    return folder


PE_CORE = (
    "vit_pe_core_tiny_patch16_384",
    {"depth": 2, "img_size": 64, "embed_dim": 32, "num_heads": 2},
)
"""PE-Core as published, but for its size: pooled by attention, with rotary positions."""


def card(folder: Path, licence: str | None) -> Path:
    """Gives a model the card of a hub."""
    head = f"---\ntags:\n- video\nlicense: {licence}\n---\n" if licence else ""
    (folder / "README.md").write_text(f"{head}# A model\n")
    return folder


def sampled(path: Path, contract) -> list[np.ndarray]:
    """The frames of every window, (T, H, W, 3) uint8, read and cut without our reader."""
    import av

    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    window, stride, step = contract.window_frames, contract.stride_frames, contract.frame_step
    last = len(frames) - window
    starts = sorted({*range(0, last + 1, stride), last})
    return [np.stack(frames[start : start + window : step]) for start in starts]
