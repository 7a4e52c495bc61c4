"""Settings of jobs and webhooks."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from server.settings.checks import check_secret, parse_database


class JobSettings(BaseSettings):
    """What jobs may cost, and where they are kept."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    state_dir: Path = Path("work/state")
    """Folder of jobs: what was sent, results and, unless `job_database` says otherwise, the
    database. Servers that share the database share the folder."""
    job_database: SecretStr | None = None
    """Address of the database, `postgresql://USER:PASSWORD@HOST/NAME` or `sqlite:///PATH`;
    default: SQLite in `state_dir`. Prefer the variable, since every user can see flags."""
    job_workers: Annotated[int, Field(ge=0)] = 1
    """Jobs worked on at once; 0 leaves them to other servers with the same database."""
    job_max_duration_s: Annotated[float, Field(gt=0)] = 7200.0
    """Longest video of a job."""
    job_max_upload_mb: Annotated[float, Field(gt=0)] = 4096.0
    """Largest request body of a job, in MiB."""
    job_upload_timeout_s: Annotated[float, Field(gt=0)] = 900.0
    """Longest time a job's body may take to arrive."""
    job_max_segments: Annotated[int, Field(gt=0)] = 14400
    """Most segments in a job, given or cut."""
    job_batch_windows: Annotated[int, Field(gt=0)] = 8
    """Windows of jobs encoded together: what a short clip may have to wait for."""
    job_timeout_s: Annotated[float, Field(gt=0)] = 14400.0
    """Longest time one attempt at a job may take, and the most a job may ask for."""
    job_stall_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest silence of a job's decoder before it is taken to hang."""
    job_max_attempts: Annotated[int, Field(gt=0)] = 3
    """How often a job is begun whose server was killed."""
    job_lease_s: Annotated[float, Field(ge=1)] = 30.0
    """A job whose server was silent for so long is taken over."""
    job_ttl_s: Annotated[float, Field(gt=0)] = 3600.0
    """How long a result is kept."""
    job_record_s: Annotated[float, Field(gt=0)] = 7 * 86400.0
    """How long a job is remembered after its end."""
    max_jobs: Annotated[int, Field(gt=0)] = 256
    """Jobs that have not ended; the next one is told to come back."""
    job_storage_mb: Annotated[float, Field(gt=0)] = 65536.0
    """Most bytes sent with jobs that have not ended, in MiB."""

    webhook_secret: SecretStr | None = None
    """Signs webhooks, `whsec_` and base64 of 24 to 64 bytes; without it there are none."""
    webhook_timeout_s: Annotated[float, Field(gt=0)] = 15.0
    """Longest time one delivery may take."""
    webhook_allow_http: bool = False
    """Let webhooks go to `http://` too."""
    webhook_allow_private: bool = False
    """Let webhooks go to loopback and private addresses: to receivers in one's own network."""

    @model_validator(mode="after")
    def _check_jobs(self) -> Self:
        if self.job_database is not None:
            parse_database(self.job_database.get_secret_value())
        if self.webhook_secret is not None:
            check_secret(self.webhook_secret.get_secret_value())
        return self

    @property
    def job_max_upload_bytes(self) -> int:
        """Largest request body of a job."""
        return int(self.job_max_upload_mb * 2**20)

    @property
    def job_storage_bytes(self) -> int:
        """Most bytes sent with jobs that have not ended."""
        return int(self.job_storage_mb * 2**20)
