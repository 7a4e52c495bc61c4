"""Activation: the bundle of the skills to serve, made, loaded beside the old one, switched to.

It is made from the configured bundle and one version of each active skill, in the order of their
names, so equal sets make equal bundles. `active.json` is written between the probe and the switch.
"""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model.errors import TaskInvalid
from server.engine.active import (
    Active,
    ActiveSet,
    ActiveVersion,
    bundle_folder,
    read_active,
    write_active,
)
from server.engine.engine import Engine
from server.errors import SkillUnusable
from server.settings.settings import Settings
from server.teaching.files import TeachingFiles, names_in
from server.teaching.versions import Version, VersionStore
from weights.bundle import Bundle, load_bundle, save_bundle
from weights.storage.cache import Cache
from weights.storage.folders import Place

logger = logging.getLogger(__name__)

KEPT_S = 600.0
"""How long a bundle that is served no more stays: another server may just be loading it."""

MOST_BEFORE = 20
"""Steps that a skill can be rolled back."""


@dataclass(frozen=True)
class Step:
    """A change of one skill: the version to serve from now on, if any.

    Attributes:
        name: of the skill.
        to: what to serve; None: nothing.
        is_back: it undoes the last change, and is found by it.
    """

    name: str
    to: ActiveVersion | None = None
    is_back: bool = False

    def apply(self, now: ActiveSet) -> ActiveSet:
        """Returns the set after the change; its bundle is still the old one."""
        old = now.skills.get(self.name)
        before = list(now.before.get(self.name, []))
        to = self.to
        if self.is_back:
            to = before.pop() if before else None
        elif to != old:
            before = [*before, old][-MOST_BEFORE:]
        skills = {name: one for name, one in now.skills.items() if name != self.name}
        if to is not None:
            skills[self.name] = to
        return now.model_copy(
            update={"skills": skills, "before": {**now.before, self.name: before}}
        )


class Activation:
    """Changes which skills are served."""

    def __init__(self, engine: Engine, files: TeachingFiles, versions: VersionStore) -> None:
        self._engine, self._files, self._versions = engine, files, versions
        self._settings: Settings = engine.settings

    async def change(self, step: Step) -> ActiveSet:
        """Makes a change; returns once the new bundle answers.

        A failure, or a crash at any moment, leaves what was served before, or what is served after.

        Raises:
            SkillUnusable: the version was learnt on another bundle.
            NotFound: it was deleted.
            NotReady: the server is starting or stopping.
            Exception: whatever keeps a bundle from being loaded.
        """
        async with self._files.locked("skills"):
            base = await self._files.call(self._load_base)
            active = await self._files.call(partial(read_active, self._settings))
            now = active.of(base.sha256)
            wanted = step.apply(now)
            if wanted.skills == now.skills and self._is_served(now):
                await self._files.call(partial(self._write, active, base.sha256, wanted))
                return wanted
            place, made = await self._files.call(partial(self._make, base, wanted))

            async def commit() -> None:
                await self._files.call(partial(self._write, active, base.sha256, made))

            await self._engine.replace(place, commit)
            await self._files.call(self._prune)
            return made

    def _load_base(self) -> Bundle:
        return load_bundle(self._settings.bundle, cache=Cache(self._settings.cache))

    def _is_served(self, now: ActiveSet) -> bool:
        return self._engine.predictor.sha256 == now.bundle_sha256

    def _write(self, active: Active, base_sha256: str, made: ActiveSet) -> None:
        write_active(self._settings, active.replaced(base_sha256, made))

    def _make(self, base: Bundle, wanted: ActiveSet) -> tuple[Place, ActiveSet]:
        """Writes the bundle of a set, unless it is there; without skills it is the base itself."""
        if not wanted.skills:
            served = {"bundle": "", "bundle_sha256": base.sha256}
            return self._settings.bundle, wanted.model_copy(update=served)
        folder = self._files.new_folder()
        try:
            saved = save_bundle(self._with_skills(base, wanted), folder / "bundle")
            name = saved.sha256[:32]
            place = bundle_folder(self._settings, name)
            if not place.exists():
                self._files.publish(folder / "bundle", place)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        os.utime(place)  # in use again, so not pruned now
        served = {"bundle": name, "bundle_sha256": saved.sha256}
        return place, wanted.model_copy(update=served)

    def _with_skills(self, base: Bundle, wanted: ActiveSet) -> Bundle:
        from model.train.new_skill.adding import add_version  # takes a moment to import

        bundle = base
        for name, active in sorted(wanted.skills.items()):
            version = self._versions.find(name, active.version)
            check_usable(version, base.sha256)
            tensors, entry = self._versions.parts(version)
            try:
                bundle = add_version(bundle, tensors, entry, threshold=active.threshold)
            except TaskInvalid as error:
                raise SkillUnusable(str(error)) from error
        return bundle

    def _prune(self) -> None:
        """Deletes bundles that are served no more, after a while."""
        active = read_active(self._settings)
        used = {one.bundle for one in active.sets.values()}
        before_s = time.time() - KEPT_S
        for name in names_in(self._files.bundles):
            place = self._files.bundles / name
            if name in used or _is_same(place, self._settings.bundle):
                continue
            with contextlib.suppress(OSError):  # another server prunes, too
                if place.stat().st_mtime < before_s:
                    self._files.discard(place)


def check_usable(version: Version, base_sha256: str) -> None:
    """Checks that a version fits a bundle.

    Raises:
        SkillUnusable: it was learnt on another one.
    """
    if version.bundle_sha256 != base_sha256:
        raise SkillUnusable(
            f"version {version.version} of {version.name} was taught on the bundle "
            f"{version.bundle_sha256[:12]}, and {base_sha256[:12]} is configured; teach it again"
        )


def forgotten(active: Active, gone: Callable[[str, int], bool]) -> Active:
    """Returns what is active, without deleted versions among what can be rolled back to."""
    return Active(
        sets={
            sha256: one.model_copy(
                update={
                    "before": {
                        name: [v for v in steps if v is None or not gone(name, v.version)]
                        for name, steps in one.before.items()
                    }
                }
            )
            for sha256, one in active.sets.items()
        }
    )


def _is_same(place: Path, other: Place) -> bool:
    return isinstance(other, Path) and place.resolve() == other.resolve()
