"""Cost of a clip per resource, with the source of each figure."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.capacity.demand import Clip

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Figure:
    """A number and its source.

    Attributes:
        value: of the quantity.
        source: a file of measurements, "given", or "assumed".
    """

    value: float
    source: str


@dataclass(frozen=True)
class Encoder:
    """What differs between the encoders.

    Attributes:
        name: of the encoder.
        reader: whose decoding times count, in `python -m bench decode`.
        window_mb: of the pixels of a window, as the encoder takes them.
    """

    name: str
    reader: str
    window_mb: float


ENCODERS = {
    one.name: one
    for one in (
        Encoder("tabletop", "decord, tabletop", 16 * 96 * 128 * 3 / 1e6),
        Encoder("omnivore-swinl", "pyav, omnivore", 16 * 224 * 224 * 3 / 1e6),
    )
}

QUANTITIES = {
    "frame_ms": "decoding a picture, before its pixels count, ms of one core",
    "megapixel_ms": "decoding a million pixels, ms of one core",
    "windows_per_core_s": "windows/s on one core",
    "windows_per_gpu_s": "windows/s on one GPU",
    "reason_ms": "reasoning about a clip, ms of one core",
    "front_ms": "receiving a clip and replying, ms of one core",
    "server_mb": "memory of a serving process",
    "decoder_mb": "memory of a decoding process",
}
"""What has to be known, in words."""


@dataclass(frozen=True)
class Rates:
    """What everything costs.

    Attributes:
        figures: by name of `QUANTITIES`; all but the GPU's must be there.
        encoder: which one is served.
    """

    figures: Mapping[str, Figure]
    encoder: Encoder = ENCODERS["tabletop"]

    def __getitem__(self, name: str) -> float:
        """Returns a figure's value.

        Raises:
            ValueError: it was neither measured nor given.
        """
        if name not in self.figures:
            raise ValueError(f"not known: {QUANTITIES[name]}; give it, or a file that has it")
        return self.figures[name].value

    @property
    def has_gpu(self) -> bool:
        """Whether a GPU's speed is known."""
        return "windows_per_gpu_s" in self.figures

    def decode_s(self, clip: Clip) -> float:
        """Returns seconds of one core to decode a clip."""
        frame_ms = self["frame_ms"] + self["megapixel_ms"] * clip.megapixels
        return clip.frames * frame_ms / 1000

    def encode_s(self, clip: Clip) -> float:
        """Returns seconds of one core to encode a clip's windows."""
        return clip.windows / self["windows_per_core_s"]

    def encode_gpu_s(self, clip: Clip) -> float:
        """Returns seconds of a GPU to encode a clip's windows, in batches that are full."""
        return clip.windows / self["windows_per_gpu_s"]

    @property
    def reason_s(self) -> float:
        """Seconds of one core to reason about a clip."""
        return self["reason_ms"] / 1000

    @property
    def front_s(self) -> float:
        """Seconds of an event loop to receive a clip and to reply."""
        return self["front_ms"] / 1000
