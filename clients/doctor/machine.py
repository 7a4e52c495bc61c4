"""Checks of the native libraries, the GPU, the disk and the bundle."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clients.doctor.findings import Finding, well, wrong

PROBE_S = 300.0
SPOOL_MB = 2048.0
"""Default of the server's EGOPACK_MAX_SPOOL_MB."""

PROBE = """
import json

def look(name, facts):
    try:
        module = __import__(name)
        found[name] = facts(module)
    except Exception as error:
        found[name] = {"error": f"{type(error).__name__}: {error}"}

def can_decode(av, codec):
    try:
        return av.codec.Codec(codec, "r") is not None
    except Exception:
        return False

found = {}
look("av", lambda av: {
    "ffmpeg": str(av.ffmpeg_version_info),
    "codecs": [c for c in ("h264", "hevc", "vp9", "av1") if can_decode(av, c)],
})
look("decord", lambda decord: {})
look("faiss", lambda faiss: {})
look("onnxruntime", lambda ort: {"providers": ort.get_available_providers()})
look("torch", lambda torch: {
    "version": torch.__version__,
    "gpus": [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())],
})
print(json.dumps(found))
"""
"""Runs in a child process: a library that crashes or hangs on import is a finding too."""


def check_libraries() -> Iterator[Finding]:
    """Yields whether the libraries load, with their codecs, providers and devices."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_S
        )
        found: dict[str, dict[str, Any]] = json.loads(child.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        yield wrong("libraries", f"did not load in {PROBE_S:g} s", "is the disk very slow?")
        return
    except (IndexError, ValueError):
        last = (child.stderr.splitlines() or ["no word"])[-1]
        advice = "install the packages anew: pip install --force-reinstall -r requirements/run.txt"
        yield wrong("libraries", f"loading ended with status {child.returncode}: {last}", advice)
        return
    for name, facts in found.items():
        if "error" in facts:
            yield wrong(name, str(facts["error"]), f"pip install --force-reinstall {name}")
    yield from _describe({name: facts for name, facts in found.items() if "error" not in facts})


def _describe(found: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    if "av" in found:
        codecs = found["av"]["codecs"]
        text = f"FFmpeg {found['av']['ffmpeg']}, reads {', '.join(codecs)}"
        if "h264" in codecs:
            yield well("video", text)
        else:
            yield wrong("video", f"{text}; not h264", "pip install --force-reinstall av")
    if "onnxruntime" in found:
        yield well("onnxruntime", ", ".join(found["onnxruntime"]["providers"]))
    if "torch" in found:
        gpus, text = found["torch"]["gpus"], f"{found['torch']['version']}"
        if gpus:
            yield well("torch", f"{text} on {', '.join(gpus)}")
        elif Path("/dev/nvidia0").exists():
            advice = "its driver is older than this torch wants, or torch is built without CUDA"
            yield Finding("torch", "note", f"{text}; there is a GPU that it cannot use", advice)
        else:
            yield well("torch", f"{text} on the processor")


def check_disk() -> Finding:
    """Returns whether the spool folder is writable and large enough."""
    folder = Path(os.environ.get("EGOPACK_SPOOL_DIR") or tempfile.gettempdir())
    needed_mb = float(os.environ.get("EGOPACK_MAX_SPOOL_MB", SPOOL_MB))
    try:
        with tempfile.TemporaryFile(dir=folder):
            free_mb = shutil.disk_usage(folder).free / 2**20
    except OSError as error:
        advice = "set EGOPACK_SPOOL_DIR to a folder that can be written"
        return wrong("disk", f"{folder} takes no file: {error}", advice)
    text = f"{free_mb / 1024:.1f} GiB free in {folder}"
    if free_mb >= needed_mb:
        return well("disk", text)
    advice = "free some, or set EGOPACK_SPOOL_DIR to a larger disk or EGOPACK_MAX_SPOOL_MB lower"
    return Finding("disk", "note", f"{text}; bodies may take {needed_mb / 1024:.1f} GiB", advice)


def check_bundle() -> Finding:
    """Returns whether every byte of the bundle to serve matches its hashes."""
    spec = importlib.util.find_spec("weights")
    if spec is None or spec.origin is None:
        return Finding("bundle", "note", "no server is installed here", "a client needs none")
    folder = os.environ.get("EGOPACK_BUNDLE") or str(Path(spec.origin).parent / "tabletop")
    command = [sys.executable, "-m", "weights", "verify", folder]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode == 0:
        return well("bundle", f"{folder} is whole")
    last = (child.stderr.splitlines() or ["no word"])[-1]
    return wrong("bundle", last, "fetch the bundle anew, or set EGOPACK_BUNDLE to another")
