"""Settings of a server on Ray: cluster address, number and size of processes."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from server.settings.live import LiveSettings


class ClusterSettings(LiveSettings):
    """Settings that apply only with `ray`."""

    ray: bool = False
    """Serve on Ray: front ends and encoders as processes of one machine or many."""
    ray_address: str | None = None
    """Ray cluster to join, `auto` for this machine's; default: a new local one."""
    front_ends: Annotated[int, Field(ge=1)] = 1
    """Processes that accept requests, decode and predict; several need PostgreSQL."""
    encoders: Annotated[int, Field(ge=1)] = 1
    """Encoder processes, each with its own GPU where `device` is one."""
    max_encoders: Annotated[int, Field(ge=1)] | None = None
    """Most encoders under load; default: `encoders`, without autoscaling."""
    encoder_cpus: Annotated[int, Field(ge=1)] = 1
    """Cores and threads of one encoder."""
    encoder_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Longest time for a batch on encoders, retries included, in seconds."""

    @model_validator(mode="after")
    def _check_cluster(self) -> Self:
        if self.max_encoders is not None and self.max_encoders < self.encoders:
            raise ValueError("max_encoders is smaller than encoders")
        if self.ray:
            self.require_shared_jobs(self.front_ends)
            if self.teaching == "on":
                raise ValueError(
                    "teaching is not there with ray: a skill is made active in one process. Teach "
                    "on a server without --ray, then serve the bundle that it makes"
                )
        return self

    @property
    def most_encoders(self) -> int:
        """Upper bound on the number of encoders."""
        return self.max_encoders or self.encoders

    def require_shared_jobs(self, front_ends: int) -> None:
        """Raises unless so many front ends can share one job database.

        Raises:
            ValueError: the database is SQLite, which is for one process.
        """
        address = "" if self.job_database is None else self.job_database.get_secret_value()
        if front_ends > 1 and not address.startswith("postgres"):
            raise ValueError(
                f"{front_ends} front ends have to share their jobs, and SQLite is for one: set "
                "EGOPACK_JOB_DATABASE to a postgresql:// address and EGOPACK_STATE_DIR to a "
                "folder that all of them see"
            )
