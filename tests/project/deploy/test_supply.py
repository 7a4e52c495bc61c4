"""What is built and installed comes from pins with hashes, and images keep no installer."""

import re
from pathlib import Path

import pytest

from tests.image.dockerfile import parse

ROOT = Path(__file__).parents[3]
REQUIREMENTS = ROOT / "requirements"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = parse(DOCKERFILE)
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.M)


def pins(name):
    """Every pin with the text up to the next."""
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    parts = PIN.split(text)
    return {parts[k]: (parts[k + 1], parts[k + 2]) for k in range(1, len(parts), 3)}


@pytest.mark.parametrize("name", ["run", "scale", "gpu", "dev", "uv", "build"])
def test_every_pin_has_hashes(name):
    found = pins(name)
    assert found
    assert [one for one, (_, rest) in found.items() if "--hash=sha256:" not in rest] == []


def test_what_builds_is_pinned_as_what_runs_is():
    backend = re.search(r'requires = \["([a-z]+)', (ROOT / "pyproject.toml").read_text())[1]
    build = pins("build")
    assert backend in build
    for name, (version, _) in build.items():
        for other in ("run", "scale", "dev"):
            assert pins(other)[name][0] == version


def installs(text):
    """The words of every installation in a script, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = (line for line in joined.splitlines() if not line.lstrip().startswith(("#", "echo")))
    return [part for line in lines for part in line.split("&&") if re.search(r"pip install", part)]


@pytest.mark.parametrize("name", ["Dockerfile", "Makefile"])
def test_nothing_is_installed_without_a_hash_or_built_with_what_has_none(name):
    found = installs((ROOT / name).read_text())
    assert len(found) >= 3
    for part in found:
        assert "--require-hashes" in part or "--no-deps ." in part, part
        sources = re.findall(r"-r \S*?(uv|build)\.txt|-r \$<|-r \S+", part)
        is_tool = any(sources) or "python -m pip" in part  # wheels alone
        assert is_tool or "--no-build-isolation" in part, part


def test_no_image_keeps_an_installer():
    for name in ("cpu", "cuda"):
        stage = STAGES[name]
        copied = [rest for word, rest in stage.steps if word == "COPY"]
        assert all("/opt/tools" not in rest for rest in copied)
        assert all("pip" not in rest for word, rest in stage.steps if word == "RUN")
        base = STAGES[stage.base]
        (run,) = [rest for word, rest in base.steps if word == "RUN"]
        assert "site-packages/pip " in run
        assert "ensurepip" in run
    assert "venv --without-pip /opt/egopack" in DOCKERFILE
    assert "/opt/egopack/bin/pip" not in DOCKERFILE
    assert "/opt/egopack/bin/uv" not in DOCKERFILE


def test_the_image_says_what_is_inside():
    (label,) = [rest for word, rest in STAGES["base"].steps if word == "LABEL"]
    for licence in ("Apache-2.0", "GPL-2.0", "LGPL-3.0", "NVIDIA"):
        assert licence in label
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in ("THIRD_PARTY_NOTICES.md", "sbom.cdx.json", "LICENSE"):
        assert any(word == "COPY" and name in rest for word, rest in STAGES["base"].steps)
        assert f"!{name}" in ignored
        assert (ROOT / name).is_file()


def test_containers_run_with_nothing_that_they_do_not_need():
    pages = [ROOT / "Dockerfile", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    found = [
        run
        for page in pages
        for run in re.findall(r"docker run ((?:[^\n]*\\\n)*[^\n]*)", page.read_text())
    ]
    assert found
    for run in found:
        for flag in ("--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only"):
            assert flag in run, run
        assert "-p 127.0.0.1:" in run


def test_the_image_for_a_gpu_can_compile_and_keep_what_it_compiled():
    """Triton calls a C compiler for each kernel; the user of the image has no home folder."""
    cuda = DOCKERFILE[DOCKERFILE.index("FROM base AS cuda") :].partition("\nFROM ")[0]
    assert re.search(r"apt-get install .*\bgcc\b.*\blibc6-dev\b", cuda)
    assert cuda.index("USER 0") < cuda.index("apt-get") < cuda.index("USER 10001")
    for name in ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "EGOPACK_CACHE"):
        assert re.search(rf"\b{name}=/var/lib/egopack/cache", DOCKERFILE), name
