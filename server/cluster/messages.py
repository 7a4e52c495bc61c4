"""What front ends and encoders say to each other. Knows nothing of Ray."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from extract.contract import FeatureContract


@dataclass(frozen=True)
class EncoderFacts:
    """An encoder, and the bundle it was loaded for; both ends have to mean the same one.

    Attributes:
        sha256: of the bundle.
        name: of the encoder.
        dim: D_in.
        contract: how its windows are made.
        fingerprint: of weights, configuration and contract.
    """

    sha256: str
    name: str
    dim: int
    contract: FeatureContract
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Encoded:
    """Features of some windows, and who made them.

    Attributes:
        rows: (n, D_in) float32.
        sha256: of the bundle that the encoder was loaded for.
        fingerprint: of the encoder.
    """

    rows: np.ndarray
    sha256: str
    fingerprint: str


@dataclass(frozen=True)
class Failed:
    """Why one item has no answer: a value, so that its batch mates keep theirs.

    Attributes:
        why: `other-bundle`: this process does not have the bundle (yet, or any more);
            `out-of-memory`: not even half the batch fits the device; `fault`: anything else.
        detail: for the log.
    """

    why: Literal["other-bundle", "out-of-memory", "fault"]
    detail: str = ""


@dataclass(frozen=True)
class Tuning:
    """What may be changed while serving: the `user_config` of both deployments.

    Attributes:
        bundle: to serve, a folder or a URL; None: the one of the settings.
        revision: any other number than before loads it again.
        max_batch_windows: most windows encoded together; None: as the settings say.
        max_wait_ms: longest wait for batch mates; None: as the settings say.
        is_leaving: the server is about to stop: balancers are told to look elsewhere.
    """

    bundle: str | None = None
    revision: int = 0
    max_batch_windows: int | None = None
    max_wait_ms: float | None = None
    is_leaving: bool = False
