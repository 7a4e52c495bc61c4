"""Handwritten FastAPI handler: decord, torchvision's trunk, and our heads.

It shares the weights, the window arithmetic and the model with the library; nothing that makes
decoding or encoding fast.
"""

from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from bench.features.trunk import torchvisions_copy
from bench.rivals import calls
from bench.rivals.plain import serve
from extract.contract import FeatureContract, crop_offset, resized_size
from extract.decode.decord_reader import load_decord
from extract.encoders.load import encoder_from_spec
from extract.encoders.preprocess import to_network_input
from extract.features.extractor import track_from
from extract.windows import cut_windows
from model.predict.predictor import Predictor
from weights.bundle import load_bundle


def main() -> None:
    """Serves until a signal stops it."""
    arguments = calls.parse_arguments(__doc__)
    predictor = calls.load(arguments.bundle, arguments.threads)
    trunk = load_trunk(arguments.bundle)
    serve(arguments.port, lambda path: answer(predictor, trunk, path))


def load_trunk(folder: Path) -> SwinTransformer3d:
    """Returns a bundle's trunk as torchvision's own class."""
    bundle = load_bundle(folder)
    return torchvisions_copy(encoder_from_spec(bundle.manifest.encoder, bundle.encoder))


@torch.inference_mode()
def answer(predictor: Predictor, trunk: nn.Module, path: Path) -> dict[str, Any]:
    """Returns the answers to a clip of 30 frames per second that is a window long or longer."""
    encoder = predictor.encoder
    contract = encoder.contract
    frames = read(path, contract)
    starts = cut_windows(len(frames), contract)
    windows = np.stack(
        [frames[s : s + contract.window_frames : contract.frame_step] for s in starts]
    )
    features = trunk(to_network_input(torch.from_numpy(windows), contract))
    track = track_from(features, len(frames), encoder, "clip")
    return calls.reason(predictor, [track])[0]


def read(path: Path, contract: FeatureContract) -> np.ndarray:
    """Returns all frames of a clip, (n, crop_height, crop_width, 3) uint8."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        width, height = resized_size(stream.width, stream.height, contract)
    reader = load_decord().VideoReader(str(path), width=width, height=height)
    frames: np.ndarray = reader.get_batch(range(len(reader))).asnumpy()
    x, y = crop_offset(width, height, contract)
    return frames[:, y : y + contract.crop_height, x : x + contract.crop_width]


if __name__ == "__main__":
    main()
