"""Settings of teaching: whether callers may, and how much each may keep."""

from typing import Annotated, Literal

from pydantic import Field

from server.settings.jobs import JobSettings


class TeachingSettings(JobSettings):
    """Limits of clips that are kept, labels and taught skills."""

    teaching: Literal["auto", "on", "off"] = "auto"
    """Whether callers may teach skills: on, off, or auto: where only this machine can reach the
    server. Not with `ray`."""
    teaching_keep_videos: bool = False
    """Allow callers to have the videos of their clips kept beside the features."""
    teaching_clips: Annotated[int, Field(gt=0)] = 200
    """Most clips that one API key, or without keys all callers, may keep for teaching."""
    teaching_storage_mb: Annotated[float, Field(gt=0)] = 4096.0
    """Largest total size of these clips, in MiB."""
    teaching_labels: Annotated[int, Field(gt=0)] = 10_000
    """Most labels in one request."""
    teaching_skills: Annotated[int, Field(gt=0)] = 20
    """Most skills of one API key, or without keys of all callers."""
    teaching_versions: Annotated[int, Field(gt=0)] = 20
    """Most versions of a skill that are kept."""
    teaching_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """Longest time in which a skill is learnt, in seconds."""
    teaching_memory_mb: Annotated[int, Field(ge=256)] = 8192
    """Most memory of a process that learns, in MiB."""
    teaching_poll_s: Annotated[float, Field(gt=0)] = 2.0
    """Seconds between looks for what another server that shares `state_dir` made active."""

    @property
    def teaching_storage_bytes(self) -> int:
        """Largest total size of one caller's clips."""
        return int(self.teaching_storage_mb * 2**20)
