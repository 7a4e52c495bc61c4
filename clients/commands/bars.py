"""Progress of an upload, on a terminal only."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from clients.api.requests import UploadProgress


@contextmanager
def sending(path: Path) -> Iterator[UploadProgress]:
    """Yields what hears of an upload and draws it; nothing is drawn where nobody would see it.

    Args:
        path: what is sent.
    """
    with tqdm(desc=path.name, unit="B", unit_scale=True, leave=False, disable=None) as bar:

        def show(sent: int, size: int) -> None:
            bar.total = size
            bar.update(sent - bar.n)

        yield show
