"""Published models on a hub: configuration and safetensors in a local cache, and the licence.

Pickles and code are never downloaded.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from weights.errors import TermsNotAccepted
from weights.published.encoders import FREE
from weights.storage.hub import cached_snapshot

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
_WANTED = ("*.json", "*.safetensors", CARD_FILE)


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
        folder: its files.
        commit: hash of the commit; empty for a folder of no hub.
    """

    folder: Path
    commit: str


def fetch_snapshot(repository: str, revision: str | None = None) -> Snapshot:
    """Returns a repository's files, downloaded unless they are in the cache.

    Args:
        repository: owner/name.
        revision: a branch, tag or commit; None: the main branch.

    Raises:
        BundleMissing, RemoteFailed: as `cached_snapshot` does; the message says what to do.
    """
    folder = cached_snapshot(repository, revision, _WANTED, unwanted=("*/*",))
    return Snapshot(folder, folder.name)


def licence_of(folder: Path) -> str | None:
    """Returns the licence in the head of a folder's card, in small letters; None: it names none."""
    card = folder / CARD_FILE
    if not card.is_file():
        return None
    head = re.match(r"---\s*\n(.*?)\n---\s*(?:\n|$)", card.read_text(errors="replace"), re.DOTALL)
    found = re.search(r"^license:[ \t]*['\"]?([\w.\-]+)", head[1] if head else "", re.MULTILINE)
    return found[1].lower() if found else None


def check_licence(name: str, licence: str | None, *, is_accepted: bool) -> None:
    """Logs a licence, and refuses one that is not known to allow commercial use.

    Raises:
        TermsNotAccepted: its terms have to be accepted, and are not.
    """
    logger.info("encoder %s: licence %s", name, licence or "not stated")
    if licence in FREE or is_accepted:
        return
    stated = f"is licensed {licence!r}" if licence else "comes without a stated licence"
    raise TermsNotAccepted(
        f"encoder {name} {stated}, which may forbid your use: read its terms, and add "
        "--accept-license if you accept them"
    )
