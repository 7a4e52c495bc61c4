"""GPU timing of decoding clips and of reasoning, before and after the trunk.

Decoders and graph layers are imported on use: without them, the trunk alone is measured.
"""

from dataclasses import replace
from pathlib import Path

import torch

from bench.gpu_timing import Clock
from extract.encoders.torch_encoder import TorchEncoder


def clips_per_second(encoder: TorchEncoder, clip: Path, clock: Clock, batch_windows: int) -> float:
    """Returns clips a second from file to features, decoded in this process.

    Raises:
        ImportError: there is no decoder.
        OSError: there is no such file.
    """
    from extract.features.extractor import Extractor

    extractor = Extractor(encoder, batch_windows=batch_windows)
    return round(1 / clock.seconds(lambda: extractor.from_file(clip), most=20), 3)


def reasoning_ms(device: torch.device, graphs: int, clock: Clock, *, tiny: bool) -> float:
    """Returns milliseconds from features to the logits of all four tasks, weights random.

    Raises:
        ImportError: torch_geometric is missing.
    """
    from bench.reasoning import make_contenders, make_inputs
    from model.train.presets import AUTHORS

    config = replace(AUTHORS.model, input_size=8, hidden_size=16) if tiny else AUTHORS.model
    with torch.inference_mode():
        skills = make_contenders(config, 30 if tiny else 4000).ours.to(device)
        skills.backpacks = {n: b and b.to(device) for n, b in skills.backpacks.items()}
        inputs = {task: x.to(device) for task, x in make_inputs(config, graphs).items()}

        def call() -> None:
            for votes in skills(inputs).values():
                votes.fused()

        return round(1000 * clock.seconds(call), 3)
