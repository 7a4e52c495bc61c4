"""Where and how the server runs: `EGOPACK_*` variables or flags, never a hyper-parameter."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

import weights
from server.job_settings import JobSettings

SHIPPED_BUNDLE = Path(weights.__file__).parent / "tabletop"


class Settings(JobSettings):
    """Every setting of the server; the environment gives them, flags override it."""

    model_config = SettingsConfigDict(
        env_prefix="EGOPACK_",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        cli_prog_name="python -m server",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    bundle: Path = SHIPPED_BUNDLE
    """Folder of the bundle to serve."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda or cuda:N."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback asks for an API key."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 lets the system choose, and the start message names it."""
    api_key: SecretStr | None = None
    """Key that callers must send; prefer the variable, since every user can see flags."""
    insecure_no_auth: bool = False
    """Listen beyond loopback without an API key."""

    max_upload_mb: Annotated[float, Field(gt=0)] = 256.0
    """Largest request body, in MiB."""
    upload_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest time a body may take to arrive."""
    spool_dir: Path | None = None
    """Parent of the private folder that holds clips while they are answered; default: system's."""

    max_duration_s: Annotated[float, Field(gt=0)] = 64.0
    """Longest clip answered while the caller waits."""
    max_frames: Annotated[int, Field(gt=0)] = 64 * 120
    """Most frames in a clip."""
    max_pixels: Annotated[int, Field(gt=0)] = 4096 * 2304
    """Most pixels in a frame."""
    max_segments: Annotated[int, Field(gt=0)] = 64
    """Most segments in one request."""
    decode_workers: Annotated[int, Field(gt=0)] = max(1, os.cpu_count() or 1)
    """Decoding processes."""
    decode_wall_s: Annotated[float, Field(gt=0)] = 30.0
    """Longest time one clip may take to decode."""
    decode_memory_mb: Annotated[int, Field(gt=0)] = 2048
    """Memory limit of one decoding process, in MiB."""
    clips_per_worker: Annotated[int, Field(gt=0)] = 200
    """Clips after which a decoding process is replaced."""

    max_requests: Annotated[int, Field(gt=0)] = 64
    """Requests in the building at once; the next one is told to come back."""
    max_batch_windows: Annotated[int, Field(gt=0)] = 64
    """Most windows encoded together."""
    max_batch_requests: Annotated[int, Field(gt=0)] = 16
    """Most requests reasoned about together."""
    max_wait_ms: Annotated[float, Field(ge=0)] = 5.0
    """Longest wait for batch mates, and only while another clip is being decoded."""
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Deadline of a request that names none, and the longest it may name."""
    shutdown_timeout_s: Annotated[int, Field(ge=0)] = 30
    """After SIGTERM, longest time to finish what was accepted."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line to write."""

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        if self.api_key is not None and not self.api_key.get_secret_value():
            raise ValueError("api_key is empty; leave it out or give it a value")
        if not (is_loopback(self.host) or self.api_key or self.insecure_no_auth):
            raise ValueError(
                f"host {self.host} can be reached from other machines: set EGOPACK_API_KEY, "
                "or say --insecure-no-auth if something in front checks callers"
            )
        return self

    @property
    def max_upload_bytes(self) -> int:
        """Largest request body."""
        return int(self.max_upload_mb * 2**20)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
