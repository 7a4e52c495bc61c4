"""Active skills: which taught versions are in the bundle that is served, and that bundle's place.

`active.json` is the commit point of every change, replaced in one step: after a crash at any moment
it says what was served before, or what is served now. It has one set for each bundle that skills
were taught on, so a server that goes back to an earlier bundle serves its skills again.
"""

import logging
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from server.settings.settings import Settings
from weights.bundle.files import manifest_sha256
from weights.errors import BundleError, RemoteFailed
from weights.storage.atomic import write_atomic
from weights.storage.folders import Place

logger = logging.getLogger(__name__)

ACTIVE_FILE = "active.json"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ActiveVersion(_Stored):
    """A version that is served.

    Attributes:
        version: its number.
        threshold: least probability of an answer that counts as certain; None: none is set.
    """

    version: int
    threshold: float | None = None


class ActiveSet(_Stored):
    """The skills that are served with one bundle.

    Attributes:
        bundle: folder below `bundles/` that holds them all; empty without a skill.
        bundle_sha256: its hash; of no skill, that of the bundle they were taught on.
        skills: skill -> what is served.
        before: skill -> what was served earlier, the latest last; None: nothing.
    """

    bundle: str = ""
    bundle_sha256: str = ""
    skills: dict[str, ActiveVersion] = {}
    before: dict[str, list[ActiveVersion | None]] = {}


class Active(_Stored):
    """All sets, by the hash of the bundle that their skills were taught on."""

    sets: dict[str, ActiveSet] = {}

    def of(self, base_sha256: str) -> ActiveSet:
        """Returns the set of a bundle, which may be empty."""
        return self.sets.get(base_sha256) or ActiveSet(bundle_sha256=base_sha256)

    def replaced(self, base_sha256: str, by: ActiveSet) -> "Active":
        """Returns the same with another set of a bundle."""
        return Active(sets={**self.sets, base_sha256: by})


def teaching_folder(settings: Settings) -> Path:
    """Returns the folder of everything that is kept for teaching."""
    return settings.state_dir / "teaching"


def bundle_folder(settings: Settings, name: str) -> Path:
    """Returns the folder of a bundle with taught skills."""
    return teaching_folder(settings) / "bundles" / name


def read_active(settings: Settings) -> Active:
    """Returns what is active; nothing if nothing was ever taught.

    Raises:
        BundleError: the file is not what was written.
    """
    try:
        text = (teaching_folder(settings) / ACTIVE_FILE).read_text("utf-8")
        return Active.model_validate_json(text)
    except FileNotFoundError:
        return Active()
    except (ValidationError, UnicodeDecodeError) as error:
        raise BundleError(
            ACTIVE_FILE, expected="the active skills, as this server writes them", found=str(error)
        ) from error


def write_active(settings: Settings, active: Active) -> None:
    """Makes other skills active, for every server that shares the folder."""
    write_atomic(teaching_folder(settings) / ACTIVE_FILE, active.model_dump_json(indent=1) + "\n")


def served_place(settings: Settings) -> Place:
    """Returns the bundle to serve: that of the active skills, or the one that is configured.

    Skills that were taught on another bundle than the configured one are not served.

    Raises:
        BundleError: `active.json` is damaged.
        BundleMissing: there is no bundle where one is configured.
        RemoteFailed: the configured bundle cannot be asked for, and no single set is active.
    """
    active = read_active(settings) if not settings.ray else Active()
    sets = {sha256: one for sha256, one in active.sets.items() if one.skills}
    if not sets:
        return settings.bundle
    if not settings.teaches:
        _warn(settings, sets, "teaching is off: set EGOPACK_TEACHING=on")
        return settings.bundle
    try:
        base_sha256 = manifest_sha256(settings.bundle)
    except RemoteFailed as error:
        if len(sets) > 1:
            raise
        logger.warning("%s; serving the skills that were taught on it", error)
        return bundle_folder(settings, next(iter(sets.values())).bundle)
    if base_sha256 in sets:
        return bundle_folder(settings, sets[base_sha256].bundle)
    _warn(settings, sets, "they were taught on another bundle than EGOPACK_BUNDLE")
    return settings.bundle


def served_sha256(settings: Settings) -> str:
    """Returns the hash of the bundle to serve; errors as `served_place` and `manifest_sha256`."""
    return manifest_sha256(served_place(settings))


def _warn(settings: Settings, sets: dict[str, ActiveSet], why: str) -> None:
    names = sorted({name for one in sets.values() for name in one.skills})
    folders = [str(bundle_folder(settings, one.bundle)) for one in sets.values()]
    _warn_once(
        f"skills that were taught are not served: {', '.join(names)}; {why}, or serve a bundle "
        f"that has them, {', '.join(folders)}"
    )


@lru_cache(maxsize=64)
def _warn_once(message: str) -> None:
    """The place is asked for at every look for a new bundle."""
    logger.warning("%s", message)
