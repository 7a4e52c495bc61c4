"""A Dockerfile as what it says, and its steps carried out in plain folders.

Enough of the language for ours: FROM, ARG, RUN, COPY, ENV, WORKDIR, USER, and words that only
describe. Arguments have their defaults.
"""

import json
import logging
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DESCRIBING = ("LABEL", "EXPOSE", "VOLUME")


@dataclass
class Stage:
    """One FROM and what follows it."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Image:
    """A root folder, and how to run what is in it."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0"
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def parse(text: str) -> dict[str, Stage]:
    """Returns the stages by name, in order."""
    stages: dict[str, Stage] = {}
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name or str(len(stages))] = Stage(name, base)
        else:
            list(stages.values())[-1].steps.append((word, rest.strip()))
    return stages


class Builder:
    """Carries stages out under a folder, each once."""

    def __init__(
        self,
        stages: Mapping[str, Stage],
        context: Path,
        debian: Path,
        work: Path,
        arguments: Mapping[str, str] = {},
    ) -> None:
        self._stages = stages
        self._arguments = arguments  # as `--build-arg` gives them
        self._context = context
        self._debian = debian  # what stands for the published base image
        self._work = work
        self._done: dict[str, Image] = {}

    def build(self, name: str) -> Image:
        """Returns the image of a stage."""
        if name not in self._done:
            stage = self._stages[name]
            base = self.build(stage.base) if stage.base in self._stages else Image(self._debian)
            root = self._work / name
            subprocess.run(["cp", "-a", str(base.root), str(root)], check=True)
            image = Image(root, dict(base.env), base.workdir, base.user, base.command, base.health)
            for word, rest in stage.steps:
                logger.info("[%s] %s %.100s", name, word, rest)
                self._step(image, word, rest)
            self._done[name] = image
        return self._done[name]

    def _step(self, image: Image, word: str, rest: str) -> None:
        if word == "RUN":
            inside(image, ["sh", "-ec", rest], check=True)
        elif word == "COPY":
            self._copy(image, shlex.split(rest))
        elif word in ("ARG", "ENV"):
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                if word == "ARG":
                    value = self._arguments.get(name, value)
                path = image.env.get("PATH", SEARCHED)
                image.env[name] = value.replace("$PATH", path)
        elif word == "WORKDIR":
            image.workdir = rest
            (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            image.user = rest
        elif word == "CMD":
            image.command = json.loads(rest)
        elif word == "HEALTHCHECK":
            image.health = json.loads(rest[rest.index("[") :])
        elif word not in DESCRIBING:
            raise ValueError(f"{word} is not understood here")

    def _copy(self, image: Image, words: list[str]) -> None:
        source = self._context
        if words[0].startswith("--from="):
            source = self.build(words.pop(0).removeprefix("--from=")).root
        *names, to = words
        target = image.root / os.path.join(image.workdir, to).lstrip("/")
        for name in names:
            origin = source / name.lstrip("/")
            if origin.is_dir():  # as docker does: what is in it, not the folder itself
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(origin, target, symlinks=True, dirs_exist_ok=True, ignore=ignored)
            else:
                into = target / origin.name if to.endswith("/") or len(names) > 1 else target
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(origin, into)


def inside(
    image: Image, command: list[str], *, check: bool = False, extra: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[bytes]:
    """Runs a command in an image, as its user, and returns how it ended."""
    return subprocess.run([*chroot(image, extra), *command], check=check, env={})


def chroot(image: Image, extra: Mapping[str, str] = {}) -> list[str]:
    """Returns the words that put a command into an image."""
    env = {"PATH": SEARCHED, "HOME": "/tmp", **passed(), **image.env, **extra}
    return [
        shutil.which("chroot") or "/usr/sbin/chroot",
        f"--userspec={image.user}:{image.user}",
        str(image.root),
        "/usr/bin/env",
        "-i",
        f"--chdir={image.workdir}",
        *(f"{name}={value}" for name, value in env.items()),
    ]


def passed() -> dict[str, str]:
    """What a machine needs to reach its package registry goes in with every step."""
    names = ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "PIP_CERT")
    return {name: os.environ[name] for name in names if name in os.environ}
