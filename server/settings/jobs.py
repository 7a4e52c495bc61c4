"""Settings of jobs and webhooks."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from server.settings.checks import check_secret, parse_database


class JobSettings(BaseSettings):
    """Limits, storage and webhooks of jobs."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    state_dir: Path = Path("work/state")
    """Folder of jobs: uploads, results and, without `job_database`, the database. Servers that
    share a database share the folder."""
    job_database: SecretStr | None = None
    """Job database, `postgresql://USER:PASSWORD@HOST/NAME` or `sqlite:///PATH`; default: SQLite in
    `state_dir`. Prefer the variable, since every user can see flags."""
    job_workers: Annotated[int, Field(ge=0)] = 1
    """Concurrent jobs of this server; 0 leaves them to other servers with the same database."""
    job_max_duration_s: Annotated[float, Field(gt=0)] = 7200.0
    """Longest video of a job, in seconds."""
    job_max_upload_mb: Annotated[float, Field(gt=0)] = 4096.0
    """Largest request body of a job, in MiB."""
    job_upload_timeout_s: Annotated[float, Field(gt=0)] = 900.0
    """Longest time to receive a job's body, in seconds."""
    job_max_segments: Annotated[int, Field(gt=0)] = 14400
    """Most segments in a job, given or cut."""
    job_batch_windows: Annotated[int, Field(gt=0)] = 8
    """Windows in one batch of a job, for which a short clip may have to wait."""
    job_timeout_s: Annotated[float, Field(gt=0)] = 14400.0
    """Default and longest deadline of one attempt at a job, in seconds."""
    job_stall_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest time a job's decoder may take for a frame before it counts as hung, in s."""
    job_max_attempts: Annotated[int, Field(gt=0)] = 3
    """Most attempts at a job whose server was killed."""
    job_lease_s: Annotated[float, Field(ge=1)] = 30.0
    """Lease of a job, in seconds: if it is not renewed, another server takes the job over."""
    job_ttl_s: Annotated[float, Field(gt=0)] = 3600.0
    """Seconds that a result is kept."""
    job_record_s: Annotated[float, Field(gt=0)] = 7 * 86400.0
    """Seconds that a job's record is kept after its end."""
    max_jobs: Annotated[int, Field(gt=0)] = 256
    """Most jobs queued, running or being received; further ones get 429."""
    max_job_uploads: Annotated[int, Field(gt=0)] = 32
    """Most bodies of jobs that are received at the same time; further ones get 429."""
    job_storage_mb: Annotated[float, Field(gt=0)] = 65536.0
    """Largest total size of uploads of jobs queued, running or being received, in MiB."""

    webhook_secret: SecretStr | None = None
    """Key that signs webhooks, `whsec_` and base64 of 24 to 64 bytes; default: none sent."""
    webhook_timeout_s: Annotated[float, Field(gt=0)] = 15.0
    """Longest time of one delivery attempt, in seconds."""
    webhook_allow_http: bool = False
    """Allow `http://` URLs for webhooks."""
    webhook_allow_private: bool = False
    """Allow loopback and private addresses for webhooks."""

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
        """Largest total size of uploads of jobs queued or running."""
        return int(self.job_storage_mb * 2**20)
