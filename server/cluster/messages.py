"""Messages between front ends and encoders, independent of Ray."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from extract.contract import FeatureContract


@dataclass(frozen=True)
class EncoderFacts:
    """Properties of an encoder and of its bundle, which both ends compare.

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
    """Features of some windows, and their encoder.

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
    """Failure of one item: a value, so that other items of its batch are not affected.

    Attributes:
        why: `other-bundle`: this process has not loaded the bundle, or no longer has it;
            `out-of-memory`: not even half the batch fits the device; `fault`: anything else.
        detail: for the log.
    """

    why: Literal["other-bundle", "out-of-memory", "fault"]
    detail: str = ""


@dataclass(frozen=True)
class Tuning:
    """Parameters that can change at run time: the `user_config` of both deployments.

    Attributes:
        bundle: folder or URL; default: the one of the settings.
        revision: a change reloads the bundle.
        max_batch_windows: most windows in a batch; default: as in the settings.
        max_wait_ms: longest wait to fill a batch; default: as in the settings.
        is_leaving: the server is about to stop, and readiness is off.
    """

    bundle: str | None = None
    revision: int = 0
    max_batch_windows: int | None = None
    max_wait_ms: float | None = None
    is_leaving: bool = False
