"""What published data sets have in common: files below a folder, splits that can be used."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from model.data.tables.label_file import Split
from model.errors import AnnotationInvalid


def find_file(root: Path, name: str, folders: Sequence[str] = ()) -> Path | None:
    """Returns the file of a name in a folder or up to two levels below it; None if there is none.

    Args:
        root: the folder.
        name: of the file.
        folders: below the root, where it is looked for first.

    Raises:
        AnnotationInvalid: there is no such folder, or there are several such files.
    """
    if not root.is_dir():
        raise AnnotationInvalid(f"{root}: there is no such folder")
    for place in (root, *(root / folder for folder in folders)):
        if (place / name).is_file():
            return place / name
    found = sorted(p for depth in ("*", "*/*") for p in root.glob(f"{depth}/{name}") if p.is_file())
    if len(found) > 1:
        raise AnnotationInvalid(
            f"{root}: expected one file {name}, found {found[0]} and {found[1]}; name the folder "
            "of one of them"
        )
    return found[0] if found else None


def need_file(root: Path, name: str, folders: Sequence[str] = ()) -> Path:
    """Returns the file of a name, as `find_file` does.

    Raises:
        AnnotationInvalid: there is none, or there are several.
    """
    found = find_file(root, name, folders)
    if found is None:
        raise AnnotationInvalid(
            f"{root}: there is no {name} in this folder or up to two levels below it"
        )
    return found


def usable_split(
    pairs: Iterable[tuple[str, Split]],
) -> tuple[Mapping[str, Split] | None, tuple[str, ...]]:
    """Returns the splits of videos, or None and the reason if they cannot be used.

    Args:
        pairs: video and split, as often as there are rows.
    """
    splits: dict[str, set[Split]] = {}
    for video, part in pairs:
        splits.setdefault(video, set()).add(part)
    shared = sum(len(parts) > 1 for parts in splits.values())
    if shared:
        return None, (
            f"{shared} of {len(splits)} videos are in several of the published splits: videos are "
            "split anew",
        )
    there = {part for parts in splits.values() for part in parts}
    if not {"train", "val"} <= there:
        only = ", ".join(sorted(there)) or "none"
        return None, (f"of the published splits there is only {only}: videos are split anew",)
    return {video: part for video, (part,) in splits.items()}, ()
