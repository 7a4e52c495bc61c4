"""Model hub: a repository's configuration and safetensors in a local cache, and its licence.

Only module with huggingface_hub, whose variables hold: HF_ENDPOINT names a mirror, HF_HUB_OFFLINE
keeps to the cache, HF_HOME places it. Pickles and code are never downloaded.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from weights.errors import FetchFailed, TermsNotAccepted
from weights.published.encoders import FREE

logger = logging.getLogger(__name__)

CARD_FILE = "README.md"
_WANTED = ["*.json", "*.safetensors", CARD_FILE]
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
        folder: its files.
        commit: hash of the commit; empty where the cache does not say.
    """

    folder: Path
    commit: str


def fetch_snapshot(repository: str, revision: str | None = None) -> Snapshot:
    """Returns a repository's files, downloaded unless they are in the cache.

    Args:
        repository: owner/name.
        revision: a branch, tag or commit; None: the main branch.

    Raises:
        FetchFailed: there is no such repository or revision, the hub is unreachable, or
            huggingface_hub is not installed; the message says what to do.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise FetchFailed(
            f"{repository}: a hub needs huggingface_hub, which is not installed: install the extra "
            "`encoders` (requirements/encoders.txt)"
        ) from error
    at = f"{repository}@{revision}" if revision else repository
    try:
        folder = Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=_WANTED, ignore_patterns=["*/*"]
            )
        )
    except LocalEntryNotFoundError as error:
        raise FetchFailed(
            f"{at}: not in the cache, and the hub is not reachable (HF_HUB_OFFLINE may be set); "
            "name a folder that holds it, or a mirror in HF_ENDPOINT"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise FetchFailed(
            f"{at}: the hub has no such repository or revision, or does not open it to you: check "
            "the name, and accept its terms there and set HF_TOKEN where it is gated"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise FetchFailed(f"{at}: {str(error).splitlines()[0]}") from error
    return Snapshot(folder, folder.name if _COMMIT.fullmatch(folder.name) else "")


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
