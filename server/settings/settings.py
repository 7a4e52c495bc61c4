"""Server settings: `EGOPACK_*` variables or flags, never a hyper-parameter."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from server.settings.checks import (
    MIN_KEY_CHARS,
    check_hosts,
    check_keys,
    check_proxies,
    is_loopback,
    parse_rate,
    read_keys,
    split_names,
)
from server.settings.cluster import ClusterSettings
from weights import SHIPPED_BUNDLE
from weights.published.catalogue import DOWNLOADS
from weights.storage.folders import Place, as_place


class Settings(ClusterSettings):
    """Every setting of the server; flags override environment variables."""

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
    """Bundle to serve: a folder or a URL, such as `s3://bucket/bundle` or `hf://owner/name@revision`."""
    reload_every_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds between checks for a new bundle, which is loaded as on SIGHUP; 0: none."""
    encoder: Annotated[str, Field(min_length=1)] | None = None
    """Encoder for a bundle that holds none, such as omnivore-swinl."""
    weights: Path = DOWNLOADS
    """Folder of published encoders, as `python -m weights fetch` fills it."""
    accept_license: bool = False
    """The terms of `encoder` are accepted, where they may forbid commercial use."""
    device: str = "cpu"
    """Device of the model: cpu, cuda or cuda:N."""
    runtime: Literal["auto", "torch", "onnx"] = "auto"
    """Runtime of the encoder: torch, onnx, or auto: the faster one as measured here."""
    precision: Literal["fp32", "bf16", "fp16", "fp8"] = "fp32"
    """Precision of the encoder, checked against fp32 at the start; below fp32: torch only. fp8: in
    products of a video Swin's later stages, else bf16, on a GPU that has such products."""
    execution: Literal[
        "auto", "eager", "kernels", "graph", "kernels-graph", "compiled", "compiled-graph"
    ] = "eager"
    """Execution of the encoder in torch: eager, in Triton's kernels (video Swin), compiled, or as
    CUDA graphs; auto: kernels and graphs where measured faster."""
    onnx_provider: Literal["cpu", "cuda", "tensorrt"] | None = None
    """Execution provider of ONNX Runtime; default: as `device` says."""
    search: Literal["auto", "torch", "faiss", "faiss-gpu"] = "auto"
    """Search for the nearest prototypes; auto: the faster one for their number."""
    cache: Path = Path("~/.cache/egopack")
    """Folder of measurements made on this machine, and of files fetched from URLs."""

    host: str = "127.0.0.1"
    """Address to listen on; any but loopback requires an API key."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 lets the system choose, and the start message names it."""
    api_key: SecretStr | None = None
    """API key that callers must send; prefer the variable: every user can see flags."""
    api_keys: dict[str, SecretStr] = {}
    """API keys by name, as JSON in the variable; logs show a caller as its key's name."""
    api_keys_file: Path | None = None
    """File of API keys, one a line: a name, a blank, the key."""
    rate_limit: str | None = None
    """Rate limit of one API key, or without keys of one address, such as `60/minute`."""
    key_guess_limit: str = "30/minute"
    """Rate limit of wrong API keys from one address; empty: none."""
    allowed_hosts: str | None = None
    """Names in `Host` that are answered besides loopback and `host`, separated by commas, such as
    `api.example.org` or `*.example.org`; `*`: any. Default: any with API keys, else none."""
    trusted_proxies: str | None = None
    """Addresses or networks of proxies whose `X-Forwarded-For` is believed, separated by commas."""
    insecure_no_auth: bool = False
    """Listen beyond loopback without an API key."""

    max_upload_mb: Annotated[float, Field(gt=0)] = 256.0
    """Largest request body, in MiB."""
    upload_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest time to receive a request body, in seconds."""
    min_upload_bytes_s: Annotated[float, Field(gt=0)] = 16384.0
    """Slowest rate of a request body, in bytes per second; a slower one gets 504."""
    upload_stall_s: Annotated[float, Field(gt=0)] = 10.0
    """Longest pause in a request body, and before its first byte, in seconds."""
    keep_alive_s: Annotated[int, Field(gt=0)] = 130
    """Seconds until an idle connection is closed; longer than a reverse proxy's idle timeout, or it
    may reuse a connection that is being closed and respond with 502."""
    max_spool_mb: Annotated[float, Field(gt=0)] = 2048.0
    """Largest total size of clips on disk, in MiB."""
    spool_dir: Path | None = None
    """Parent of the private folder of uploaded clips; default: the system's temporary folder."""

    max_duration_s: Annotated[float, Field(gt=0)] = 64.0
    """Longest clip of a synchronous request, in seconds."""
    max_frames: Annotated[int, Field(gt=0)] = 64 * 120
    """Most frames in a clip."""
    max_pixels: Annotated[int, Field(gt=0)] = 7680 * 4320
    """Most pixels in a frame; the default admits 8K, as phones and cameras record it."""
    max_clip_pixels: Annotated[int, Field(gt=0)] = 2**34
    """Most pixels in all frames of a clip together."""
    max_fps: Annotated[float, Field(gt=0)] = 120.0
    """Highest frame rate of a clip, in frames per second."""
    max_segments: Annotated[int, Field(gt=0)] = 64
    """Most segments in one request."""
    reader: Literal["auto", "decord", "pyav"] = "auto"
    """Decoder of clips: decord, pyav, or auto: decord where its output is verified, else PyAV. PyAV
    gives the same pixels of H.264 in about 0.8 of the time; jobs always use it."""
    decode_workers: Annotated[int, Field(gt=0)] = max(1, os.cpu_count() or 1)
    """Number of decoding processes; default: one a core."""
    decode_cpu_s: Annotated[float, Field(gt=0)] = 30.0
    """Most CPU time to decode one clip, in seconds; a clip that takes more is refused."""
    decode_wall_s: Annotated[float, Field(gt=0)] = 60.0
    """Longest time to decode one clip, in seconds; then the answer is a retryable 503."""
    decode_memory_mb: Annotated[int, Field(gt=0)] = 2048
    """Address space of one decoding process, in MiB; 8K in 10 bits takes 1212."""
    decode_output_mb: Annotated[int, Field(gt=0)] = 512
    """Most memory of a clip's decoded frames, in MiB; a whole full-HD frame takes 6."""
    clips_per_worker: Annotated[int, Field(gt=0)] = 200
    """Clips after which a decoding process is replaced."""

    max_requests: Annotated[int, Field(gt=0)] = 64
    """Most concurrent requests; further ones get 429."""
    max_caller_share: Annotated[float, Field(gt=0, le=1)] = 0.75
    """Largest part of all places, streams and disk space that one API key, or without keys one
    address, may take; 1: all of it."""
    max_event_streams: Annotated[int, Field(gt=0)] = 512
    """Most concurrent streams of job events; further ones get 429."""
    max_queued_windows: Annotated[int, Field(gt=0)] = 4096
    """Most windows of all concurrent requests; further ones get 429."""
    max_batch_windows: Annotated[int, Field(gt=0)] = 64
    """Most windows in one batch of the encoder."""
    max_batch_requests: Annotated[int, Field(gt=0)] = 16
    """Most requests in one batch of the task heads."""
    max_wait_ms: Annotated[float, Field(ge=0)] = 5.0
    """Longest wait to fill a batch, in ms, and only while another clip is being decoded."""
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Default and longest deadline of a request, in seconds."""
    canary_every_s: Annotated[float, Field(gt=0)] = 30.0
    """Longest time without a completed request before a canary is sent, in seconds."""
    canary_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """Deadline of a health canary, in seconds; two failures turn readiness off."""
    drain_delay_s: Annotated[float, Field(ge=0)] = 5.0
    """Seconds after SIGTERM in which load balancers may still send new work."""
    shutdown_timeout_s: Annotated[int, Field(ge=0)] = 30
    """Seconds after that in which accepted work is finished."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Separate port for /metrics on the same address; default: beside the API."""
    open_metrics: bool = False
    """Serve /metrics without an API key."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level of log lines."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.check_keys(self.keys)
        if self.rate_limit is not None:
            parse_rate(self.rate_limit)
        if self.key_guess_limit:
            parse_rate(self.key_guess_limit)
        check_hosts(self.allowed_names)
        check_proxies(self.proxies)
        if self.max_spool_mb < self.max_upload_mb:
            raise ValueError("max_spool_mb is smaller than max_upload_mb: no clip could come in")
        if not (is_loopback(self.host) or self.has_keys or self.insecure_no_auth):
            raise ValueError(
                f"host {self.host} can be reached from other machines: set EGOPACK_API_KEY, "
                "or say --insecure-no-auth if something in front checks callers"
            )
        return self

    def check_keys(self, keys: Mapping[str, str]) -> None:
        """Raises unless every key can be one of this server, short ones only on loopback.

        Raises:
            ValueError: which key is wrong, by its name.
        """
        check_keys(keys, min_chars=1 if is_loopback(self.host) else MIN_KEY_CHARS)

    @property
    def teaches(self) -> bool:
        """Whether callers may teach skills."""
        if self.ray or self.teaching == "off":
            return False
        return self.teaching == "on" or is_loopback(self.host)

    @property
    def allowed_names(self) -> list[str]:
        """The names of `allowed_hosts`, in lower case."""
        return split_names(self.allowed_hosts)

    @property
    def proxies(self) -> list[str]:
        """The addresses and networks of `trusted_proxies`."""
        return split_names(self.trusted_proxies)

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
        """Largest total size of clips on disk."""
        return int(self.max_spool_mb * 2**20)

    @property
    def max_upload_bytes(self) -> int:
        """Largest request body."""
        return int(self.max_upload_mb * 2**20)
