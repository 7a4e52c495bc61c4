"""Feature contract: frame rate, windows, resize, crop and colour between a file and the network.

Two tracks are comparable only when their contracts and encoders agree, so the contract is stored
in the bundle and its hash is part of the encoder's fingerprint.
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

Color = Literal["tagged", "bt601"]
Resize = Literal["decoder", "float", "library"]


@dataclass(frozen=True)
class FeatureContract:
    """How frames become the network's input.

    Attributes:
        fps: frames per second after resampling by timestamp.
        window_frames: consecutive frames in a window (paper Sec. 4.1: 32).
        stride_frames: frames between two window starts (paper Sec. 4.1: 16).
        frame_step: every n-th frame of a window goes into the network.
        short_side: pixels of the frame's short side after the resize.
        crop_height: rows kept by the centre crop.
        crop_width: columns kept by the centre crop.
        resize: "decoder" resizes to bytes, in the decoder's own code (bicubic); "float" to floats
            (bilinear, no antialias), as the published Omnivore features were. Readers do either.
            "library" is done after reading: frames are read whole, as bytes, and the code that an
            encoder was published with resizes, crops and normalises them; `short_side`, `mean` and
            `std` then only tell what it does.
        color: "tagged" follows the stream's matrix; "bt601" ignores the tag, as PyAV < 17 did.
        view: part of a source's frame that is used, before everything else: "whole", or "left",
            the left half of a stereo recording; see `for_stereo`.
        mean: per channel, on values in [0, 1].
        std: per channel, on values in [0, 1].
    """

    fps: int = 30
    window_frames: int = 32
    stride_frames: int = 16
    frame_step: int = 1
    short_side: int = 256
    crop_height: int = 224
    crop_width: int = 224
    resize: Resize = "float"
    color: Color = "bt601"
    view: Literal["whole", "left"] = "whole"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def is_whole(self) -> bool:
        """Whether readers deliver whole uint8 frames, of a size that differs between videos."""
        return self.resize == "library"

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(crop_height, crop_width, 3) of a frame as windows hold it."""
        return self.crop_height, self.crop_width, 3

    def read_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """Returns the shape of a frame as readers deliver it, of a video shown in these pixels."""
        return (height, width, 3) if self.is_whole else self.frame_shape

    @property
    def read_dtype(self) -> Literal["uint8", "float32"]:
        """Type of the numbers of a frame as readers deliver it, which are in [0, 255]."""
        return "float32" if self.resize == "float" else "uint8"

    def read_bytes(self, width: int, height: int) -> int:
        """Returns the bytes of a frame as readers deliver it; see `read_shape`."""
        return math.prod(self.read_shape(width, height)) * (4 if self.resize == "float" else 1)

    @property
    def window_shape(self) -> tuple[int, int, int]:
        """(T, crop_height, crop_width) of a window as the network takes it."""
        return self.window_frames // self.frame_step, self.crop_height, self.crop_width

    @property
    def frame_dtype(self) -> Literal["uint8", "float32"]:
        """Type of a frame's numbers in windows: in [0, 255], or normalised by a library."""
        return "uint8" if self.resize == "decoder" else "float32"

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame in windows."""
        return math.prod(self.frame_shape) * (1 if self.resize == "decoder" else 4)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is its inverse."""
        values = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        if self.view == "whole":
            del values["view"]  # older contracts have no such key, and the same fingerprint
        return values

    def for_stereo(self) -> "FeatureContract":
        """Returns the contract to read a stereo video with: the left half of side-by-side frames.

        The features keep this contract and the encoder its fingerprint: what differs is the video.
        """
        return replace(self, view="left")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FeatureContract":
        """Rebuilds a contract.

        Raises:
            ValueError: a key is unknown.
        """
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown feature contract keys: {sorted(unknown)}")
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


OMNIVORE = FeatureContract()
"""Ego4D's preprocessing of Omnivore Swin-L: short side 256, centre crop 224, BT.601."""

SLOWFAST = FeatureContract(
    crop_height=256,
    crop_width=256,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
)
"""Ego4D's preprocessing of SlowFast R101: the same but for the crop and the numbers."""

TABLETOP = FeatureContract(
    frame_step=2,
    short_side=96,
    crop_height=96,
    crop_width=128,
    resize="decoder",
    color="tagged",
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
)
"""Our small trunk: a 4:3 view of 96 x 128 pixels, every second frame."""


def resized_size(width: int, height: int, contract: FeatureContract) -> tuple[int, int]:
    """Returns the (width, height) in pixels that a frame, as shown, is resized to before the crop.

    With `resize="float"` the short side becomes `short_side` and the long side is rounded down,
    as in Ego4D's extraction. With `resize="decoder"` the scale is the smallest at which the short
    side reaches `short_side` and the crop is covered in both directions, so a portrait frame
    fills a landscape crop; sides are even, as FFmpeg resizes to odd ones in a far slower way.
    With `resize="library"` the frame stays as it is.
    """
    if contract.is_whole:
        return width, height
    short, long = min(width, height), max(width, height)
    if contract.resize == "float":
        long_side = math.floor(long / short * contract.short_side)
        if width <= height:
            return contract.short_side, long_side
        return long_side, contract.short_side
    scale = max(
        contract.short_side / short,
        contract.crop_width / width,
        contract.crop_height / height,
    )
    return (
        max(contract.crop_width, 2 * round(width * scale / 2)),
        max(contract.crop_height, 2 * round(height * scale / 2)),
    )


def crop_offset(width: int, height: int, contract: FeatureContract) -> tuple[int, int]:
    """Returns the (x, y) of the centre crop's first pixel; halves round to even.

    Raises:
        ValueError: the crop is larger than the frame.
    """
    if width < contract.crop_width or height < contract.crop_height:
        raise ValueError(
            f"a {contract.crop_width} x {contract.crop_height} crop does not fit "
            f"in a {width} x {height} frame"
        )
    return round((width - contract.crop_width) / 2), round((height - contract.crop_height) / 2)
