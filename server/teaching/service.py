"""Teaching service: what callers keep and teach, whose it is, and what is served of it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from server.engine.active import Active, ActiveVersion, read_active, served_sha256, write_active
from server.engine.engine import Engine
from server.engine.request import Progress, ProgressCallback
from server.errors import NotFound, NotReady, QueueFull, ServerError, SkillActive, TeachingOff
from server.jobs.records import Job
from server.schemas.teaching import TaughtSkill
from server.schemas.teaching_options import ActivateOptions, SuggestOptions
from server.teaching.activation import Activation, Step, check_usable, forgotten
from server.teaching.bodies import skill_body
from server.teaching.clips import Clip, ClipStore, SentClip
from server.teaching.files import TeachingFiles
from server.teaching.labels import Labelled
from server.teaching.teach_runner import TeachRunner
from server.teaching.versions import Version, VersionStore, check_owner
from weights.errors import WeightsError

logger = logging.getLogger(__name__)

MOST_ASKED = 4
"""Questions that wait for a process while another one is answered."""

RETRY_AFTER_S = 10


class Teaching:
    """Everything behind the endpoints of teaching; a caller is the name of an API key.

    Attributes:
        settings: limits in force.
        clips: of all callers.
        versions: of all skills.
        call: runs a blocking method of these in a thread, as `TeachingFiles.call` does.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.settings = engine.settings
        self._files = TeachingFiles(engine.settings)
        self.clips = ClipStore(self._files, engine.settings)
        self.versions = VersionStore(self._files, engine.settings)
        self._activation = Activation(engine, self._files, self.versions)
        self._runner = TeachRunner(engine.settings, self._files, self.clips, self.versions)
        self._bases: dict[str, str] = {}
        self._asking, self._asked = asyncio.Lock(), 0
        self.call = self._files.call

    def require_on(self) -> None:
        """Raises if callers may not teach.

        Raises:
            TeachingOff: they may not.
        """
        if self.settings.ray:
            raise TeachingOff("nothing is taught on Ray; teach on a server without --ray")
        if not self.settings.teaches:
            raise TeachingOff("see EGOPACK_TEACHING: by default only this machine may teach")

    async def keep(self, owner: str, sent: SentClip) -> tuple[Clip, bool]:
        """Keeps a clip; returns it, and whether it is new; raises as `ClipStore.keep` does."""
        async with self._files.locked("clips"):
            clip, is_new = await self.call(partial(self.clips.keep, owner, sent))
        if is_new:
            self._log("clip-kept", owner, clip=clip.id)
        return clip, is_new

    async def delete_clip(self, owner: str, clip_id: str) -> None:
        """Deletes a caller's clip; raises as `ClipStore.find` does."""
        async with self._files.locked("clips"):
            await self.call(partial(self.clips.delete, owner, clip_id))
        self._log("clip-deleted", owner, clip=clip_id)

    async def taught_name(self, name: str) -> bool:
        """Whether the bundle being served has a skill because it was taught here."""
        active = await self.call(partial(read_active, self.settings))
        return name in active.of(self.base_of(active)).skills

    async def skills(self, owner: str) -> list[TaughtSkill]:
        """Returns a caller's skills, and those of others that are served."""

        def read() -> list[TaughtSkill]:
            active = read_active(self.settings)
            found = (self._body(name, owner, active) for name in self.versions.names())
            return [skill for skill in found if skill is not None]

        return await self.call(read)

    async def skill(self, name: str, owner: str) -> TaughtSkill:
        """Returns a skill.

        Raises:
            NotFound: there is none, or it is another caller's and not served.
        """
        active = await self.call(partial(read_active, self.settings))
        skill = await self.call(partial(self._body, name, owner, active))
        if skill is None:
            raise NotFound("there is no such taught skill; see /v1/skills")
        return skill

    async def report(self, name: str, number: int, owner: str) -> dict[str, Any]:
        """Returns the report of a version; raises as `skill` does, and for a deleted one."""
        skill = await self.skill(name, owner)
        if all(one.version != number for one in skill.versions):
            raise NotFound("there is no such version of this skill; see /v1/skills")
        version = await self.call(partial(self.versions.find, name, number))
        threshold = next(one.threshold for one in skill.versions if one.version == number)
        return {
            **await self.call(partial(self.versions.report, version)), "threshold": threshold
        }  # fmt: skip

    async def activate(self, name: str, choice: ActivateOptions, owner: str) -> None:
        """Serves a version; returns once the new bundle answers.

        Raises:
            NotFound: there is no such version.
            SkillOwned: the skill is another caller's.
            SkillUnusable: the version was taught on another bundle.
        """
        await self.owned(name, owner)
        version = await self.call(partial(self.versions.find, name, choice.version))
        active = await self.call(partial(read_active, self.settings))
        check_usable(version, self.base_of(active))
        to = ActiveVersion(version=choice.version, threshold=choice.threshold)
        await self._activation.change(Step(name, to))
        self._log("skill-activated", owner, skill=name, version=choice.version)

    async def deactivate(self, name: str, owner: str) -> None:
        """Serves no version of a skill any more; raises as `activate` does."""
        await self.owned(name, owner)
        await self._activation.change(Step(name))
        self._log("skill-deactivated", owner, skill=name)

    async def roll_back(self, name: str, owner: str) -> None:
        """Serves what was served before the last change of a skill; raises as `activate` does."""
        await self.owned(name, owner)
        made = await self._activation.change(Step(name, is_back=True))
        now = made.skills.get(name)
        self._log("skill-rolled-back", owner, skill=name, version=now and now.version)

    async def delete(self, name: str, owner: str, number: int | None = None) -> None:
        """Deletes one version of a skill, or all of it.

        Raises:
            NotFound, SkillOwned: as `activate` does.
            SkillActive: what is to be deleted is served.
        """
        async with self._files.locked("skills"):
            versions = await self.owned(name, owner)
            if number is not None:
                versions = [await self.call(partial(self.versions.find, name, number))]
            await self.call(partial(self._delete, versions))
        self._log("skill-deleted", owner, skill=name, version=number)

    async def teach(self, job: Job, given: Path, on_progress: ProgressCallback) -> bytes:
        """Does the work of a job that teaches; returns the report as JSON.

        Raises:
            ServerError: as `TeachRunner.learn` and `activate` do.
        """
        wanted = await self._runner.read(given)
        version, is_new = await self._runner.learn(job, wanted, on_progress)
        if is_new:
            self._log("skill-taught", job.caller, skill=version.name, version=version.version)
        if wanted.activate:
            choice = ActivateOptions(version=version.version, threshold=wanted.threshold)
            on_progress(Progress("activating"))
            await self.activate(version.name, choice, job.caller)
        return await self._runner.result(version, wanted)

    async def compare(
        self, name: str, numbers: Sequence[int], labelled: Labelled, owner: str
    ) -> dict[str, Any]:
        """Returns how two versions of a caller's skill do on labels, one request at a time.

        Raises:
            NotFound, SkillOwned, SkillUnusable: as `activate` does.
            LabelsInvalid: neither version has one of the labels.
            QueueFull: too many callers ask at once.
        """
        await self.owned(name, owner)
        find = self.versions.find
        versions = [await self.call(partial(find, name, number)) for number in numbers]
        async with self._turn():
            return await self._runner.compare(versions, labelled, owner)

    async def suggest(
        self, options: SuggestOptions, labelled: Labelled, owner: str
    ) -> dict[str, Any]:
        """Returns segments of a caller's clips to label next, one request at a time.

        Raises:
            LabelsInvalid: the task or the labels are wrong.
            QueueFull: too many callers ask at once.
        """
        async with self._turn():
            return await self._runner.suggest(options, labelled, owner)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Waits for the process that answers questions."""
        if self._asked >= MOST_ASKED:
            raise QueueFull(RETRY_AFTER_S)
        self._asked += 1
        try:
            async with self._asking:
                yield
        finally:
            self._asked -= 1

    async def watch(self) -> None:
        """Follows what other servers with the same folder make active; until cancelled."""
        if not self.settings.teaches:
            return
        seen: Active | None = None
        while True:
            await asyncio.sleep(self.settings.teaching_poll_s)
            try:
                active = await self.call(partial(read_active, self.settings))
                self.base_of(active)
                if active == seen:
                    continue
                async with self._files.locked("skills"):  # a change of this server's is over then
                    active = await self.call(partial(read_active, self.settings))
                    wanted = await self.call(partial(served_sha256, self.settings))
                    if wanted != self._engine.predictor.sha256:
                        await self._engine.reload()
                seen = active
            except NotReady:
                continue
            except (ServerError, WeightsError, OSError) as error:
                logger.warning("cannot look for skills that are active: %s", error)

    def base_of(self, active: Active) -> str:
        """Returns the hash of the bundle that the skills being served were taught on."""
        served = self._engine.predictor.sha256
        self._bases |= {one.bundle_sha256: base for base, one in active.sets.items()}
        return self._bases.get(served, served)

    async def owned(self, name: str, owner: str) -> list[Version]:
        """Returns the versions of a caller's skill.

        Raises:
            NotFound: there is no such skill.
            SkillOwned: it is another caller's.
        """
        versions = await self.call(partial(self.versions.versions, name))
        if not versions:
            raise NotFound("there is no such taught skill; see /v1/skills")
        check_owner(versions, owner)
        return versions

    def _body(self, name: str, owner: str, active: Active) -> TaughtSkill | None:
        base = self.base_of(active)
        now = active.of(base).skills.get(name)
        return skill_body(self.versions, name, owner, now, base)

    def _delete(self, versions: list[Version]) -> None:
        """Forgets versions among what can be rolled back to, then deletes them."""
        active, name = read_active(self.settings), versions[0].name
        numbers = {one.version for one in versions}
        served = [one.skills.get(name) for one in active.sets.values()]
        if any(one is not None and one.version in numbers for one in served):
            raise SkillActive(f"{name} is served; deactivate it, or roll it back, first")
        kept = forgotten(active, lambda skill, number: skill == name and number in numbers)
        if kept != active:
            write_active(self.settings, kept)
        for one in versions:
            with contextlib.suppress(FileNotFoundError):
                self.versions.delete(one)

    def _log(self, event: str, key: str, **facts: Any) -> None:
        """Writes a line for who audits: what was changed, and with which key."""
        self._engine.telemetry.metrics.teaching_changes.labels(event).inc()
        logger.info("%s", event, extra={"audit": event, "key": key or None, **facts})
