"""What can be wrong with files of weights.

WeightsError
├── BundleMissing   there is no bundle where one was looked for
├── BundleError     a bundle is there and cannot be trusted: names the file, the expected, the found
├── ImportRefused   files of others cannot be made into a bundle
│   └── CheckpointInvalid  one of them is not what it should be: names the file
├── FetchFailed     a published checkpoint cannot be had; the message says why
│   └── HashDiffers        it came, and is not the file that was published or had before
└── RemoteFailed    what lies behind a URL cannot be read or written; also an OSError
    └── RemoteMissing      because it is not there; also a FileNotFoundError
"""


class WeightsError(Exception):
    """Root of everything that can go wrong between disk and named tensors."""


class BundleMissing(WeightsError):
    """No manifest.json in the folder that was named."""


class BundleError(WeightsError):
    """One file of a bundle is not what its manifest promises.

    Attributes:
        file: name inside the bundle.
        expected: what the manifest or the model calls for.
        found: what is there.
    """

    def __init__(self, file: str, *, expected: str, found: str) -> None:
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file = file
        self.expected = expected
        self.found = found


class ImportRefused(WeightsError):
    """Files of others that, taken together, do not make a bundle; the message says why."""


class CheckpointInvalid(ImportRefused):
    """A file of others is not what it should be.

    Attributes:
        file: where it is, as the caller spelled it.
        detail: what is wrong in it.
    """

    def __init__(self, file: str, detail: str) -> None:
        super().__init__(f"{file}: {detail}")
        self.file = file
        self.detail = detail


class FetchFailed(WeightsError):
    """A published checkpoint cannot be had or kept; the message says why and what to do."""


class HashDiffers(FetchFailed):
    """A file is not the one that its hash was taken of.

    Attributes:
        expected: SHA-256 in hexadecimal.
        found: that of the file.
    """

    def __init__(self, message: str, *, expected: str, found: str) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found


class RemoteFailed(WeightsError, OSError):
    """A storage refused, could not be reached, or is of a kind that cannot be used here."""


class RemoteMissing(RemoteFailed, FileNotFoundError):
    """The storage answered that there is no such file."""
