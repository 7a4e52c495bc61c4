"""Errors of the package: files of weights that are missing, damaged or refused.

WeightsError
├── BundleMissing   there is no bundle at an address
├── BundleError     a bundle is damaged: names the file, what was expected and what was found
├── ImportRefused   checkpoints cannot be converted to a bundle
│   └── CheckpointInvalid  one file is malformed: names the file
├── FetchFailed     a published checkpoint cannot be downloaded or stored
│   ├── HashDiffers        a file has another SHA-256 than was published or recorded
│   └── TermsNotAccepted   its licence has to be accepted first
└── RemoteFailed    a URL cannot be read or written; also an OSError
    └── RemoteMissing      there is no such file; also a FileNotFoundError
"""


class WeightsError(Exception):
    """Base class of the package's errors."""


class BundleMissing(WeightsError):
    """No manifest.json in the folder."""


class BundleError(WeightsError):
    """One file of a bundle differs from its manifest.

    Attributes:
        file: name inside the bundle.
        expected: by the manifest or the model.
        found: in the file.
    """

    def __init__(self, file: str, *, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file = file
        self.expected = expected
        self.found = found


class ImportRefused(WeightsError):
    """Checkpoints that do not go together; the message gives the reason."""


class CheckpointInvalid(ImportRefused):
    """A file is not a checkpoint, taxonomy or annotation file of the expected layout.

    Attributes:
        file: its path, as the caller gave it.
        detail: the fault.
    """

    def __init__(self, file: str, detail: str) -> None:
        super().__init__(f"{file}: {detail}")
        self.file = file
        self.detail = detail


class FetchFailed(WeightsError):
    """A published checkpoint cannot be downloaded or stored; the message says what to do."""


class HashDiffers(FetchFailed):
    """A file has another SHA-256, in hexadecimal, than expected."""

    def __init__(self, message: str, *, expected: str, found: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found


class TermsNotAccepted(FetchFailed):
    """Weights whose licence has to be accepted, and was not."""


class RemoteFailed(WeightsError, OSError):
    """A storage refused, is unreachable, or needs a library that is not installed."""


class RemoteMissing(RemoteFailed, FileNotFoundError):
    """There is no such file in the storage."""
