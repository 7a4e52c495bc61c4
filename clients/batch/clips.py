"""Which clips a batch is about, and what they are called in its results."""

from collections.abc import Iterable
from pathlib import Path

SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"})
"""A file inside a folder is taken for a clip by its suffix; one that is named is taken anyway."""


def find_clips(paths: Iterable[Path]) -> dict[str, Path]:
    """Returns name -> clip, in order of the names.

    A clip in a folder is named by its path below the folder, a file by its name.

    Args:
        paths: folders, searched to the bottom, and files.

    Raises:
        ValueError: there is no clip, or two would have one name.
        OSError: a path does not exist.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for name, clip in _clips_of(path):
            if name in found and not clip.samefile(found[name]):
                raise ValueError(f"{found[name]} and {clip} would both be called {name}")
            found[name] = clip
    if not found:
        raise ValueError(f"no clip found; those in folders end in {', '.join(sorted(SUFFIXES))}")
    return dict(sorted(found.items()))


def _clips_of(path: Path) -> Iterable[tuple[str, Path]]:
    if not path.is_dir():
        path.stat()  # says that it does not exist
        return [(path.name, path)]
    files = (one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
    return [(one.relative_to(path).as_posix(), one) for one in files]
