"""A small bundle, and commands on it that are killed half way."""

import signal
import subprocess
import sys
from contextlib import contextmanager

import torch

from tests.support.waiting import PATIENCE_S
from weights.bundle import Bundle
from weights.bundle.manifest import Manifest


def make_bundle() -> Bundle:
    manifest = Manifest(
        name="tiny",
        version="1",
        encoder={"name": "none"},
        model={},
        backbones={"shared": {}},
        skills={"ar": {}},
        label_spaces={"verb": ["cut"]},
    )
    return Bundle(
        manifest,
        encoder={"w": torch.arange(4.0)},
        backbones={"shared": {"w": torch.ones(2, 3)}},
        skills={"ar": {"w": torch.zeros(5)}},
        backpack={"shared.ar": torch.eye(3)},
        card="# tiny\n",
        encoder_onnx=b"a graph",
    )


S3 = "s3://bucket/bundles/tiny"


@contextmanager
def stopped_at(storage, request, *command):
    """A command that hangs in a request it has made, to be killed there."""
    storage.pause = request
    process = subprocess.Popen([sys.executable, "-m", "weights", *command])
    try:
        assert storage.waiting.wait(PATIENCE_S)
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        storage.clear()
