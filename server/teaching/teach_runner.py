"""Teach runner: the work of a job that teaches, from its input to a new version and its report.

A job that is run again, because its server was killed, finds the version that it made.
"""

import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from server.engine.request import Progress, ProgressCallback
from server.errors import LabelsInvalid, NotFound, NotReady
from server.jobs.records import Job
from server.schemas.teaching_options import SuggestOptions
from server.settings.settings import Settings
from server.teaching.activation import check_usable
from server.teaching.clips import ClipStore
from server.teaching.files import TeachingFiles
from server.teaching.labels import Labelled, TeachInput
from server.teaching.learning import learn
from server.teaching.versions import Version, VersionStore
from weights.bundle.files import manifest_sha256, read_files, write_files
from weights.storage.cache import Cache

COMPARISON_FILE, SUGGESTIONS_FILE = "comparison.json", "suggestions.json"


class TeachRunner:
    """Learns in a process of its own, and keeps what it learnt."""

    def __init__(
        self, settings: Settings, files: TeachingFiles, clips: ClipStore, versions: VersionStore
    ) -> None:
        self._settings, self._files = settings, files
        self._clips, self._versions = clips, versions

    async def read(self, given: Path) -> TeachInput:
        """Returns the input of a job."""
        return await self._files.call(lambda: TeachInput.model_validate_json(given.read_bytes()))

    async def learn(
        self, job: Job, wanted: TeachInput, on_progress: ProgressCallback
    ) -> tuple[Version, bool]:
        """Returns what a job has learnt as a version, and whether it is new.

        Raises:
            LabelsInvalid: the labels do not fit, or a clip was deleted.
            SkillOwned, QuotaReached: as `VersionStore.keep` does.
            DeadlineExceeded, OutOfMemory: as `learning.learn` does.
            NotReady: the bundle was replaced meanwhile.
        """
        on_progress(Progress("learning"))
        name = wanted.task["name"]
        made = await self._files.call(partial(self._versions.of_job, name, job.id))
        if made is not None:
            return made, False
        facts = {"name": name, "owner": job.caller, "job_id": job.id}
        request = wanted.model_dump(include={"task", "labels", "seed", "method", "none_label"})
        await self._files.call(partial(self._files.drop_work, job.id))
        work = f"{job.id}.{job.token}"
        async with self._answered("teach", work, job.caller, wanted.clips, request) as answer:
            result, sha256 = answer
            async with self._files.locked("skills"):
                keep = partial(self._versions.keep, result, bundle_sha256=sha256, **facts)
                return await self._files.call(keep), True

    async def compare(
        self, versions: Sequence[Version], labelled: Labelled, owner: str
    ) -> dict[str, Any]:
        """Returns how two versions do on the same labels of a caller's clips.

        Raises:
            LabelsInvalid: neither version has one of the labels.
            SkillUnusable: a version was taught on another bundle.
        """
        sha256 = await self._files.call(partial(manifest_sha256, self._settings.bundle))
        for version in versions:
            check_usable(version, sha256)
        places = {str(one.version): str(self._versions.place(one).resolve()) for one in versions}
        request = {"labels": labelled.labels, "versions": places}
        work = uuid4().hex
        async with self._answered("compare", work, owner, labelled.clip_ids, request) as answer:
            text = await self._files.call((answer[0] / COMPARISON_FILE).read_bytes)
        found: dict[str, Any] = json.loads(text)
        return found

    async def suggest(
        self, options: SuggestOptions, labelled: Labelled, owner: str
    ) -> dict[str, Any]:
        """Returns segments of a caller's clips that are worth a label.

        Raises:
            LabelsInvalid: the task or the labels are wrong.
        """
        request = {
            "task": options.task.values(),
            "labels": labelled.labels,
            **options.model_dump(include={"count", "segment_s", "seed"}),
        }
        work = uuid4().hex
        async with self._answered("suggest", work, owner, labelled.clip_ids, request) as answer:
            text = await self._files.call((answer[0] / SUGGESTIONS_FILE).read_bytes)
        found: dict[str, Any] = json.loads(text)
        if options.clips is not None:  # others are read for their labels alone
            wanted = [one for one in found["segments"] if one["video"] in options.clips]
            found = {**found, "segments": wanted}
        return found

    @asynccontextmanager
    async def _answered(
        self,
        action: str,
        work: str,
        owner: str,
        clips: Mapping[str, str],
        request: Mapping[str, Any],
    ) -> AsyncIterator[tuple[Path, str]]:
        """Yields the folder of a process's result, and the hash of the bundle it is of.

        Args:
            action: of the process.
            work: name of its folder, which is removed afterwards.
            owner: of the clips.
            clips: name -> id.
            request: what else the process is to know.
        """
        await self._files.call(self._files.create)
        folder = (await self._files.call(partial(self._files.new_folder, work))).resolve()
        try:
            bundle, sha256 = await self._files.call(partial(self._base, folder))
            linked = await self._files.call(partial(self._link_clips, owner, clips, folder))
            whole = {**request, "action": action, "bundle": str(bundle), "clips": linked}
            result = await learn(
                whole,
                folder,
                timeout_s=self._settings.teaching_timeout_s,
                memory_mb=self._settings.teaching_memory_mb,
            )
            if await self._files.call(partial(manifest_sha256, bundle)) != sha256:
                raise NotReady("the bundle was replaced while a skill was learnt on it")
            yield result, sha256
        finally:
            await self._files.call(partial(shutil.rmtree, folder, ignore_errors=True))

    async def result(self, version: Version, wanted: TeachInput) -> bytes:
        """Returns the report of a version as the job's result."""
        report = await self._files.call(partial(self._versions.report, version))
        return json.dumps({**report, "threshold": wanted.threshold}).encode()

    def _base(self, folder: Path) -> tuple[Path, str]:
        """Returns the bundle to learn on, on this machine, and its hash."""
        place = self._settings.bundle
        if isinstance(place, Path):
            place = place.resolve()  # a link may be swapped while the process reads
        else:
            files = read_files(place, cache=Cache(self._settings.cache))
            place = folder / "bundle"
            write_files(files, place)
        return place, manifest_sha256(place)

    def _link_clips(self, owner: str, clips: Mapping[str, str], folder: Path) -> dict[str, str]:
        """Puts the clips' features into the folder, where a deletion does not reach them."""
        linked = {}
        for index, (name, clip_id) in enumerate(sorted(clips.items())):
            linked[name] = f"clip-{index}.safetensors"
            try:
                features = self._clips.features(self._clips.find(owner, clip_id))
                _link(features, folder / linked[name])
            except (NotFound, FileNotFoundError) as error:
                raise LabelsInvalid(("/labels", f"the clip {name} was deleted")) from error
        return linked


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(source, place)
