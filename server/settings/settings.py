"""Where and how the server runs: `EGOPACK_*` variables or flags, never a hyper-parameter."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from server.api.access import check_keys, read_keys
from server.rates import parse_rate
from server.settings.cluster import ClusterSettings
from weights import SHIPPED_BUNDLE
from weights.published.catalogue import DOWNLOADS
from weights.storage.folders import Place, as_place


class Settings(ClusterSettings):
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

    bundle: Annotated[Place, BeforeValidator(as_place)] = SHIPPED_BUNDLE
    """Bundle to serve: a folder, or the URL of one, such as `s3://bucket/bundles/tabletop`."""
    reload_every_s: Annotated[float, Field(ge=0)] = 0.0
    """How often to look whether another bundle lies there, and load it as on SIGHUP; 0: never."""
    encoder: Annotated[str, Field(min_length=1)] | None = None
    """What makes features for a bundle that holds no encoder, such as omnivore-swinl."""
    weights: Path = DOWNLOADS
    """Where `python -m weights fetch` put published encoders."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda or cuda:N."""
    runtime: Literal["auto", "torch", "onnx"] = "auto"
    """What runs the encoder: torch, onnx, or auto: the faster one as measured on this machine."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the encoder, checked against fp32 before it serves; another than fp32 is torch's alone."""
    execution: Literal["eager", "compiled", "graph", "compiled-graph"] = "eager"
    """How torch runs the encoder: as written, compiled, or as CUDA graphs of a few batch sizes."""
    onnx_provider: Literal["cpu", "cuda", "tensorrt"] | None = None
    """What ONNX Runtime runs on; default: as `device` says."""
    cache: Path = Path("~/.cache/egopack")
    """Folder that remembers what was measured on this machine, and what was fetched from URLs."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback asks for an API key."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 lets the system choose, and the start message names it."""
    api_key: SecretStr | None = None
    """Key that callers must send; prefer the variable, since every user can see flags."""
    api_keys: dict[str, SecretStr] = {}
    """Several keys by name, as JSON in the variable; logs show a caller by its key's name."""
    api_keys_file: Path | None = None
    """File of keys, a line each: a name, a blank, the key."""
    rate_limit: str | None = None
    """Most requests of one key, or without keys of one address, as `60/minute`."""
    insecure_no_auth: bool = False
    """Listen beyond loopback without an API key."""

    max_upload_mb: Annotated[float, Field(gt=0)] = 256.0
    """Largest request body, in MiB."""
    upload_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest time a body may take to arrive."""
    keep_alive_s: Annotated[int, Field(gt=0)] = 130
    """How long a connection without a request stays open; longer than a proxy in front keeps one,
    or it may send a request just as the connection is closed, and answer with 502."""
    max_spool_mb: Annotated[float, Field(gt=0)] = 2048.0
    """Most bytes of clips on disk at once, in MiB."""
    spool_dir: Path | None = None
    """Parent of the private folder that holds clips while they are answered; default: system's."""

    max_duration_s: Annotated[float, Field(gt=0)] = 64.0
    """Longest clip answered while the caller waits."""
    max_frames: Annotated[int, Field(gt=0)] = 64 * 120
    """Most frames in a clip."""
    max_pixels: Annotated[int, Field(gt=0)] = 7680 * 4320
    """Most pixels in a frame; the default takes what phones and action cameras record, 8K too."""
    max_clip_pixels: Annotated[int, Field(gt=0)] = 2**34
    """Most pixels in all frames of a clip together."""
    max_fps: Annotated[float, Field(gt=0)] = 120.0
    """Most frames per second."""
    max_segments: Annotated[int, Field(gt=0)] = 64
    """Most segments in one request."""
    reader: Literal["auto", "decord", "pyav"] = "auto"
    """Who decodes clips; auto: decord, and PyAV what decord is not known to read right. PyAV gives
    the same pixels of H.264 in about 0.8 of the time; jobs are its own."""
    decode_workers: Annotated[int, Field(gt=0)] = max(1, os.cpu_count() or 1)
    """Decoding processes."""
    decode_wall_s: Annotated[float, Field(gt=0)] = 30.0
    """Longest time one clip may take to decode."""
    decode_memory_mb: Annotated[int, Field(gt=0)] = 2048
    """Limit on the address space of one decoding process, in MiB; 8K in 10 bits takes 1212."""
    clips_per_worker: Annotated[int, Field(gt=0)] = 200
    """Clips after which a decoding process is replaced."""

    max_requests: Annotated[int, Field(gt=0)] = 64
    """Requests in the building at once; the next one is told to come back."""
    max_queued_windows: Annotated[int, Field(gt=0)] = 4096
    """Windows of all requests in the building; more are told to come back."""
    max_batch_windows: Annotated[int, Field(gt=0)] = 64
    """Most windows encoded together."""
    max_batch_requests: Annotated[int, Field(gt=0)] = 16
    """Most requests reasoned about together."""
    max_wait_ms: Annotated[float, Field(ge=0)] = 5.0
    """Longest wait for batch mates, and only while another clip is being decoded."""
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Deadline of a request that names none, and the longest it may name."""
    canary_every_s: Annotated[float, Field(gt=0)] = 30.0
    """Longest time without an answer before a canary is sent to prove that one is possible."""
    canary_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Deadline of a canary; two that miss it turn readiness off."""
    drain_delay_s: Annotated[float, Field(ge=0)] = 5.0
    """After SIGTERM, how long new work is still taken while balancers learn of it."""
    shutdown_timeout_s: Annotated[int, Field(ge=0)] = 30
    """After that, longest time to finish what was accepted."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Serve /metrics on this port of the same address, instead of beside the API."""
    open_metrics: bool = False
    """Serve /metrics without an API key."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line to write."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_keys(self.keys)
        if self.rate_limit is not None:
            parse_rate(self.rate_limit)
        if self.max_spool_mb < self.max_upload_mb:
            raise ValueError("max_spool_mb is smaller than max_upload_mb: no clip could come in")
        if not (is_loopback(self.host) or self.has_keys or self.insecure_no_auth):
            raise ValueError(
                f"host {self.host} can be reached from other machines: set EGOPACK_API_KEY, "
                "or say --insecure-no-auth if something in front checks callers"
            )
        return self

    @property
    def has_keys(self) -> bool:
        """Whether callers need an API key."""
        return bool(self.keys)

    @property
    def keys(self) -> dict[str, str]:
        """Every API key by name; the one without a name is called `default`."""
        keys = {} if self.api_keys_file is None else read_keys(self.api_keys_file)
        keys |= {name: key.get_secret_value() for name, key in self.api_keys.items()}
        if self.api_key is not None:
            keys["default"] = self.api_key.get_secret_value()
        return keys

    @property
    def max_spool_bytes(self) -> int:
        """Most bytes of clips on disk at once."""
        return int(self.max_spool_mb * 2**20)

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
