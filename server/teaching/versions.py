"""Versions of taught skills on disk, numbered from 1 under the skill's name; never changed.

`skills/NAME/NUMBER/` has the tensors, what a bundle's manifest says of them, the report, and who
taught it. An empty folder keeps the number of a deleted version from being used again.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load
from torch import Tensor

from server.errors import NotFound, QuotaReached, SkillOwned
from server.settings.settings import Settings
from server.teaching.files import TeachingFiles, names_in

FACTS_FILE = "version.json"
TENSORS_FILE, ENTRY_FILE, REPORT_FILE = "skill.safetensors", "entry.json", "report.json"

NAME = re.compile("[a-z][a-z0-9_-]{0,31}")
_NUMBER = re.compile("[1-9][0-9]{0,8}")


class Version(BaseModel):
    """What is known of one version, as it is stored.

    Attributes:
        name: of the skill.
        version: its number.
        owner: name of the API key that taught it; empty without keys.
        created_s: when it was learnt, in seconds since 1970.
        job_id: of the job that learnt it: a job that is run again finds what it made.
        bundle_sha256: of the bundle that it was taught on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: int
    owner: str
    created_s: float
    job_id: str
    bundle_sha256: str


class VersionStore:
    """The versions of every skill; blocking, and changed under the lock of skills."""

    def __init__(self, files: TeachingFiles, settings: Settings) -> None:
        self._files, self._settings = files, settings

    def names(self) -> list[str]:
        """Returns the names of all skills that have a version, sorted."""
        return [name for name in names_in(self._files.skills) if self.versions(name)]

    def versions(self, name: str) -> list[Version]:
        """Returns a skill's versions in order; none of a skill that is not there."""
        found = (_read(self._files.skills / name / number) for number in self._numbers(name))
        return sorted((one for one in found if one), key=lambda one: one.version)

    def find(self, name: str, number: int) -> Version:
        """Returns one version.

        Raises:
            NotFound: there is none.
        """
        version = next((one for one in self.versions(name) if one.version == number), None)
        if version is None:
            raise NotFound("there is no such version of a taught skill; see /v1/skills")
        return version

    def of_job(self, name: str, job_id: str) -> Version | None:
        """Returns the version that a job made, if it made one."""
        return next((one for one in self.versions(name) if one.job_id == job_id), None)

    def check_may_teach(self, name: str, owner: str) -> None:
        """Checks that a caller may add a version of a skill.

        Raises:
            SkillOwned: it is another caller's.
            QuotaReached: the caller has as many skills, or the skill as many versions, as it may.
        """
        versions = self.versions(name)
        check_owner(versions, owner)
        if len(versions) >= (most := self._settings.teaching_versions):
            raise QuotaReached(f"{name} has {len(versions)} versions, of at most {most}")
        if not versions:
            mine = [one for one in self.names() if self.versions(one)[0].owner == owner]
            if len(mine) >= (most := self._settings.teaching_skills):
                raise QuotaReached(f"you have {len(mine)} skills, of at most {most}; delete some")

    def keep(self, learnt: Path, **facts: str) -> Version:
        """Keeps what was learnt as a skill's next version.

        Args:
            learnt: folder with the three files.
            facts: of the version, but for its number and time.

        Raises:
            SkillOwned, QuotaReached: as `check_may_teach` does.
        """
        name, owner = facts["name"], facts["owner"]
        self.check_may_teach(name, owner)
        number = 1 + max((int(n) for n in self._numbers(name)), default=0)
        version = Version(version=number, created_s=time.time(), **facts)
        folder = self._files.new_folder()
        try:
            for file in (TENSORS_FILE, ENTRY_FILE, REPORT_FILE):
                shutil.copyfile(learnt / file, folder / file)
            (folder / FACTS_FILE).write_text(version.model_dump_json(), "utf-8")
            self._files.publish(folder, self.place(version))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return version

    def report(self, version: Version) -> dict[str, Any]:
        """Returns the report of a version, with its number and bundle.

        Raises:
            NotFound: it was deleted.
        """
        report = json.loads(self._file(version, REPORT_FILE))
        return {
            **report, "version": version.version, "bundle_sha256": version.bundle_sha256
        }  # fmt: skip

    def parts(self, version: Version) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns the tensors of a version, and what a manifest says of them; as `report`."""
        entry: dict[str, Any] = json.loads(self._file(version, ENTRY_FILE))
        return load(self._file(version, TENSORS_FILE)), entry

    def delete(self, version: Version) -> None:
        """Deletes one version.

        Raises:
            FileNotFoundError: it is gone.
        """
        place = self.place(version)
        self._files.discard(place)
        place.mkdir(mode=0o700)

    def _numbers(self, name: str) -> Iterator[str]:
        if NAME.fullmatch(name):
            yield from filter(_NUMBER.fullmatch, names_in(self._files.skills / name))

    def place(self, version: Version) -> Path:
        """Folder of a version."""
        return self._files.skills / version.name / str(version.version)

    def _file(self, version: Version, name: str) -> bytes:
        try:
            return (self.place(version) / name).read_bytes()
        except FileNotFoundError as error:
            raise NotFound("this version of the skill was deleted") from error


def check_owner(versions: list[Version], owner: str) -> None:
    """Checks that a skill is a caller's, or nobody's yet.

    Raises:
        SkillOwned: it is another caller's.
    """
    if versions and versions[0].owner != owner:
        raise SkillOwned(f"the skill {versions[0].name} was taught with another API key")


def _read(place: Path) -> Version | None:
    """Returns the version in a folder; None if it was deleted."""
    try:
        return Version.model_validate_json((place / FACTS_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise OSError(f"{os.fspath(place)}: damaged: {error}") from error
