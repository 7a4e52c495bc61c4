"""What can be wrong with files of weights.

WeightsError
├── BundleMissing   there is no bundle where one was looked for
└── BundleError     a bundle is there and cannot be trusted: names the file, the expected, the found
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
