"""Teaching: clips to learn from, skills from labels, their versions, what to label next."""

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from clients.api.job_calls import JobCalls, job_path
from clients.api.label_files import Labels, Task, labels_of, locate, task_of, videos_in
from clients.api.requests import (
    ApiRequest,
    Clip,
    Features,
    UploadProgress,
    about_clip,
    new_key,
    without_none,
)
from clients.results.jobs import Job
from clients.results.predictions import Progress
from clients.results.skills import (
    Comparison,
    KeptClip,
    KeptClips,
    Report,
    Skill,
    Skills,
    Suggestion,
    Suggestions,
)

OnClip = Callable[[Path, int, int], UploadProgress | None]
"""Called before a clip is sent, with its file, its place and how many are sent; may return what is
called with the bytes sent."""


class SkillCalls(JobCalls):
    """Calls about clips that are kept, and about skills that are taught from their labels.

    A server that lets nobody teach refuses them all: Rejected, code `teaching-off`.
    """

    async def keep_clip(
        self,
        name: str,
        clip: Clip | None = None,
        *,
        features: Features | None = None,
        keep_video: bool = False,
        progress: UploadProgress | None = None,
    ) -> KeptClip:
        """Sends a clip to learn from, which the server keeps under a name of the caller's.

        Args:
            name: as labels call it: the name of its file without the ending.
            clip: a video file, read as it is sent.
            features: in the clip's place, as for `predict`.
            keep_video: keep the video too, where the server allows it.
            progress: called with (bytes sent, bytes in all).

        Raises:
            Rejected: another clip is kept under the name (`clip-exists`), or as `predict`.
            ClientError: as `predict` does.
        """
        request = about_clip("/v1/clips", clip, features, {}, progress=progress)
        params = {"name": name, **({"keep_video": "true"} if keep_video else {})}
        sent = ApiRequest(request.method, request.path, params=params, upload=request.upload)
        return KeptClip.from_dict(await self._json(sent))

    async def clips(self) -> list[KeptClip]:
        """Returns the clips that the caller keeps."""
        return KeptClips.from_dict(await self._json(ApiRequest("GET", "/v1/clips"))).clips

    async def delete_clip(self, clip_id: str) -> None:
        """Deletes a kept clip; skills taught with it stay as they are."""
        await self._whole(ApiRequest("DELETE", f"/v1/clips/{quote(clip_id, safe='')}"))

    async def keep_clips(
        self, labels: Labels, videos: Path | None, *, on_clip: OnClip | None = None
    ) -> list[KeptClip]:
        """Sends the clips that labels name and the server does not keep yet; returns these.

        Run again after a break, it sends what is missing.

        Args:
            labels: a labels file, or its rows.
            videos: folder of the videos, or one above it; None if all are kept.
            on_clip: called before each clip.

        Raises:
            ValueError: a video has no file, or several.
            ClientError: as `keep_clip` does.
        """
        kept = {clip.name for clip in await self.clips()}
        missing = [name for name in videos_in(labels) if name not in kept]
        files = locate(missing, videos)
        sent = []
        for place, (name, path) in enumerate(files.items()):
            progress = None if on_clip is None else on_clip(path, place, len(files))
            sent.append(await self.keep_clip(name, path, progress=progress))
        return sent

    async def submit_teaching(
        self,
        task: Task,
        labels: Labels,
        *,
        none_label: str | None = None,
        method: str | None = None,
        seed: int | None = None,
        activate: bool = False,
        threshold: float | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Submits labels of kept clips as a job; `report_of_job` has what came of it.

        Args:
            task: a task file, or its keys.
            labels: a labels file, or its rows: video, start_s, end_s, label and, if wanted, split.
            none_label: the label of segments that are none of the others.
            method: "auto" (default) or "head".
            seed: of all random generators.
            activate: serve the skill once it is learnt.
            threshold: with `activate`, the least probability of an answer that is certain.
            idempotency_key: the same key and body give the same job; default: a new one.

        Raises:
            Rejected: a label does not fit its clip (`labels-invalid`): `errors` has all.
            ValueError: a file is not what it should be.
            ClientError: as `submit` does.
        """
        body = {
            "task": task_of(task),
            **labels_of(labels),
            **without_none({"none_label": none_label, "method": method, "seed": seed}),
            "activate": activate,
            **without_none({"threshold": threshold}),
        }
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        request = ApiRequest("POST", "/v1/skills", headers=headers, json=body)
        return Job.from_dict(await self._json(request))

    async def teach(
        self,
        task: Task,
        labels: Labels,
        *,
        videos: Path | None = None,
        none_label: str | None = None,
        method: str | None = None,
        seed: int | None = None,
        activate: bool = False,
        threshold: float | None = None,
        timeout_s: float | None = None,
        on_clip: OnClip | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Teaches a skill: sends what clips the server lacks, submits the labels, waits.

        Arguments and errors are those of `keep_clips`, `submit_teaching` and `wait`.

        Returns:
            How far to trust it.
        """
        task, sent = task_of(task), labels_of(labels)
        await self.keep_clips(labels, videos, on_clip=on_clip)
        job = await self.submit_teaching(
            task,
            sent.get("labels") or str(sent["labels_csv"]),
            none_label=none_label,
            method=method,
            seed=seed,
            activate=activate,
            threshold=threshold,
        )
        job = await self.wait(job.id, timeout_s=timeout_s, on_progress=on_progress)
        return await self.report_of_job(job.id)

    async def report_of_job(self, job_id: str) -> Report:
        """Returns the report of a job that has taught a skill; errors are those of `result`."""
        return Report.from_dict(await self._json(ApiRequest("GET", f"{job_path(job_id)}/result")))

    async def skills(self) -> list[Skill]:
        """Returns the caller's skills, and those of others that are served."""
        return Skills.from_dict(await self._json(ApiRequest("GET", "/v1/skills"))).skills

    async def skill(self, name: str) -> Skill:
        """Returns one skill with its versions."""
        return Skill.from_dict(await self._json(ApiRequest("GET", _path(name))))

    async def report(self, name: str, version: int) -> Report:
        """Returns how far to trust a version."""
        path = f"{_path(name)}/versions/{version}"
        return Report.from_dict(await self._json(ApiRequest("GET", path)))

    async def activate(self, name: str, version: int, *, threshold: float | None = None) -> Skill:
        """Serves a version; returns once the server answers with it.

        Args:
            name: of the skill.
            version: to serve.
            threshold: least probability of an answer that is certain; None says nothing of it.
        """
        body = {"version": version, **without_none({"threshold": threshold})}
        request = ApiRequest("POST", f"{_path(name)}/activate", json=body)
        return Skill.from_dict(await self._json(request))

    async def deactivate(self, name: str) -> Skill:
        """Serves a skill no more; its versions stay."""
        return Skill.from_dict(await self._json(ApiRequest("POST", f"{_path(name)}/deactivate")))

    async def rollback(self, name: str) -> Skill:
        """Serves what was served before the skill's last change, which may be no version.

        It is sent once: should the connection break, look at `skill` before another try.
        """
        path = f"{_path(name)}/rollback"
        return Skill.from_dict(await self._json(ApiRequest("POST", path, is_repeatable=False)))

    async def delete_skill(self, name: str, version: int | None = None) -> None:
        """Deletes a skill that is not served, or one version of it."""
        path = _path(name) + ("" if version is None else f"/versions/{version}")
        await self._whole(ApiRequest("DELETE", path))

    async def compare(self, name: str, first: int, second: int, labels: Labels) -> Comparison:
        """Returns how often each of two versions is right on the same labels of kept clips."""
        body = {"versions": [first, second], **labels_of(labels)}
        request = ApiRequest("POST", f"{_path(name)}/compare", json=body)
        return Comparison.from_dict(await self._json(request))

    async def suggest(
        self,
        task: Task,
        labels: Labels = (),
        *,
        count: int | None = None,
        clips: Sequence[str] | None = None,
        segment_s: float | None = None,
    ) -> list[Suggestion]:
        """Returns segments of kept clips that are worth a label, the best first.

        Args:
            task: a task file, or its keys.
            labels: so far; may be none.
            count: of the segments; default: the server's.
            clips: names of the clips to suggest of; default: all.
            segment_s: length of the segments; default: that of the labels.
        """
        choices = {"count": count, "clips": clips, "segment_s": segment_s}
        body = {"task": task_of(task), **labels_of(labels), **without_none(choices)}
        request = ApiRequest("POST", "/v1/skills/suggest", json=body)
        return Suggestions.from_dict(await self._json(request)).segments


def _path(name: str) -> str:
    return f"/v1/skills/{quote(name, safe='')}"
