"""Settings of a server on Ray: how many processes, and where they meet."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from server.settings.jobs import JobSettings


class ClusterSettings(JobSettings):
    """What `--ray` asks for; a server that is one process looks at none of it."""

    ray: bool = False
    """Serve on Ray: processes that take requests, encoders behind them, on one machine or many."""
    ray_address: str | None = None
    """Cluster to join, `auto` for the one this machine belongs to; default: a new one, here."""
    front_ends: Annotated[int, Field(ge=1)] = 1
    """Processes that take requests, decode and reason; more than one share jobs in PostgreSQL."""
    encoders: Annotated[int, Field(ge=1)] = 1
    """Processes that make features of windows, each with a GPU of its own where `device` is one."""
    max_encoders: Annotated[int, Field(ge=1)] | None = None
    """Most encoders under load; default: as many as `encoders`, always."""
    encoder_cpus: Annotated[int, Field(ge=1)] = 1
    """Cores, and threads, of one encoder."""
    encoder_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Longest time a batch may take on encoders, those included that were lost meanwhile."""

    @model_validator(mode="after")
    def _check_cluster(self) -> Self:
        if self.max_encoders is not None and self.max_encoders < self.encoders:
            raise ValueError("max_encoders is smaller than encoders")
        if self.ray:
            self.require_shared_jobs(self.front_ends)
        return self

    @property
    def most_encoders(self) -> int:
        """Encoders there may ever be."""
        return self.max_encoders or self.encoders

    def require_shared_jobs(self, front_ends: int) -> None:
        """Raises unless so many front ends can work on the same jobs.

        Raises:
            ValueError: their database is one process's own.
        """
        address = "" if self.job_database is None else self.job_database.get_secret_value()
        if front_ends > 1 and not address.startswith("postgres"):
            raise ValueError(
                f"{front_ends} front ends have to share their jobs, and SQLite is for one: set "
                "EGOPACK_JOB_DATABASE to a postgresql:// address and EGOPACK_STATE_DIR to a "
                "folder that all of them see"
            )
