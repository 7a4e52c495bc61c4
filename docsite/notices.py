"""THIRD_PARTY_NOTICES.md and a CycloneDX SBOM of what an image of ours contains.

`python -m docsite.notices` writes both from the installed packages that `requirements/run.txt`
pins, as they are on the image's platform: Linux on x86-64 with Python 3.11.
"""

import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements" / "run.txt"
NOTICES = ROOT / "THIRD_PARTY_NOTICES.md"
SBOM = ROOT / "sbom.cdx.json"

PLATFORM = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "extra": "",
}
COPYLEFT = {
    "libx264": "GPL-2.0-or-later",
    "libx265": "GPL-2.0-or-later",
    "libavcodec": "LGPL-2.1-or-later",
    "libavdevice": "LGPL-2.1-or-later",
    "libavfilter": "LGPL-2.1-or-later",
    "libavformat": "LGPL-2.1-or-later",
    "libavutil": "LGPL-2.1-or-later",
    "libswresample": "LGPL-2.1-or-later",
    "libswscale": "LGPL-2.1-or-later",
    "libasound": "LGPL-2.1-or-later",
    "libgmp": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libgnutls": "LGPL-2.1-or-later",
    "libhogweed": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libnettle": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libunistring": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libmp3lame": "LGPL-2.0-or-later",
    "libkeyutils": "LGPL-2.1-or-later",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libquadmath": "LGPL-2.1-or-later",
}
"""Licences of libraries that wheels bring in binary form and that oblige those who pass them on."""

HEAD = """# Third-party notices

What an image made by our `Dockerfile` contains beside our own code (Apache-2.0, see `LICENSE`):
the Python packages below, and Debian with Python from the base image, whose licences are in
`/usr/share/doc` there. Made by `make notices`, with `sbom.cdx.json`, from the installed packages
that `requirements/run.txt` pins; do not edit.

The image for NVIDIA GPUs has `faiss-gpu` and `onnxruntime-gpu` in place of `faiss-cpu` and
`onnxruntime` (`requirements/gpu.txt`); one with Ray has what `requirements/scale.txt` pins, one
with encoders of transformers and timm what `requirements/encoders.txt` does.

## If you publish an image

We publish none. A publisher passes on what is inside, and three groups of it oblige:

- **GPL.** The wheels of `av` and `decord2` hold `libx264` and `libx265` (GPL-2.0-or-later) beside
  an FFmpeg (LGPL, there in version 3) that is linked with them. Passed on, they come with their
  sources, or an offer of them, and what is linked with them is under the GPL's terms too; or all of
  that under the commercial licences of their authors. The server only decodes and uses neither.
- **LGPL.** `psycopg` and `psycopg-binary` (LGPL-3.0-only) and libraries inside several wheels. They
  are separate files that can be replaced, as these licences ask; their texts and sources have to
  be offered.
- **Proprietary.** The packages whose names begin with `nvidia-`, and parts of `cuda-*`, are
  NVIDIA's, under its licence agreements, which limit how they may be passed on. Every image has
  them, since torch's wheel depends on them.

This is a list, no legal advice.
"""


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        name: canonical.
        version: as installed.
        licence: an SPDX expression, or what its authors wrote.
        is_expression: whether it is the former.
        texts: paths of its licence files below site-packages.
        libraries: names of shared libraries that its wheel brings along.
        needs: canonical names of the listed packages that it depends on.
    """

    name: str
    version: str
    licence: str
    is_expression: bool
    texts: tuple[str, ...]
    libraries: tuple[str, ...]
    needs: tuple[str, ...]


def main() -> None:
    """Writes both files; exits with status 1 when the packages are not those that are pinned."""
    try:
        packages = installed()
    except ValueError as error:
        sys.exit(f"python -m docsite.notices: {error}")
    NOTICES.write_text(notices(packages))
    SBOM.write_text(sbom(packages))


def pinned(path: Path = REQUIREMENTS) -> dict[str, str]:
    """Returns the versions that requirements pin for the image's platform, by canonical name."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if line[:1].isalnum():
            one = Requirement(line.removesuffix("\\"))
            if one.marker is None or one.marker.evaluate(PLATFORM):
                (version,) = one.specifier
                found[canonicalize_name(one.name)] = version.version
    return found


def installed() -> list[Package]:
    """Returns what is pinned, as it is installed here, by name.

    Raises:
        ValueError: something is not installed, or in another version.
    """
    versions = pinned()
    found = {}
    for name, version in versions.items():
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            raise ValueError(f"{name} {version} is not installed") from None
        if found[name].version != version:
            raise ValueError(f"{name} {version} is pinned, {found[name].version} is installed")
    edges = _edges(found)
    return [_package(name, found[name], edges[name]) for name in sorted(found)]


def notices(packages: Sequence[Package]) -> str:
    """Returns the notices, as Markdown."""
    lines = [HEAD, "## Packages\n", "| package | version | licence | texts |", "|---|---|---|---|"]
    for one in packages:
        texts = ", ".join(f"`{text}`" for text in one.texts) or "none in the package"
        licence = one.licence.replace("|", "\\|")
        lines.append(f"| {one.name} | {one.version} | {licence} | {texts} |")
    lines += [
        "\nTexts lie below `/opt/egopack/lib/python3.11/site-packages` in the image.\n",
        "## Libraries inside wheels\n",
        "| package | brings in binary form |",
        "|---|---|",
    ]
    for one in packages:
        if one.libraries:
            shown = (f"{n} ({COPYLEFT[n]})" if n in COPYLEFT else n for n in one.libraries)
            lines.append(f"| {one.name} | {', '.join(shown)} |")
    return "\n".join(lines) + "\n"


def sbom(packages: Sequence[Package]) -> str:
    """Returns a CycloneDX 1.6 document, as JSON; the same packages make the same document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name = project["name"]
    components = [_component(one) for one in packages]
    edges = [{"ref": name, "dependsOn": sorted(map(_purl, _of(packages, project)))}]
    by_name = {one.name: one for one in packages}
    for one in packages:
        needs = sorted(_purl(by_name[need]) for need in one.needs)
        edges.append({"ref": _purl(one), "dependsOn": needs})
    content = {
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": name,
                "name": name,
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": components,
        "dependencies": edges,
    }
    digest = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        **content,
    }
    return json.dumps(document, indent=1) + "\n"


def _component(one: Package) -> dict[str, Any]:
    licence = (
        {"expression": one.licence} if one.is_expression else {"license": {"name": one.licence}}
    )
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _purl(one),
        "name": one.name,
        "version": one.version,
        "purl": _purl(one),
        "licenses": [licence],
    }
    inside = [
        {"type": "library", "name": name}
        | ({"licenses": [{"expression": COPYLEFT[name]}]} if name in COPYLEFT else {})
        for name in one.libraries
    ]
    return component | ({"components": inside} if inside else {})


def _purl(one: Package) -> str:
    return f"pkg:pypi/{one.name}@{one.version}"


def _of(packages: Sequence[Package], project: dict[str, Any]) -> list[Package]:
    direct = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    return [one for one in packages if one.name in direct]


def _package(name: str, found: Distribution, needs: set[str]) -> Package:
    licence, is_expression = _licence(found)
    paths = sorted(str(path) for path in found.files or ())
    texts = tuple(
        path
        for path in paths
        if re.search(r"\.dist-info/.*(licen[cs]e|copying|notice)", path, re.IGNORECASE)
        and not path.endswith((".py", ".pyc"))
    )
    libraries = {
        re.sub(r"([-.][0-9a-f]{8})*(\.\d+)*\.so.*$", "", path.rsplit("/", 1)[1])
        for path in paths
        if re.search(r"\.libs/[^/]+\.so", path)
    }
    return Package(
        name,
        found.version,
        licence,
        is_expression,
        texts,
        tuple(sorted(libraries)),
        tuple(sorted(needs)),
    )


def _licence(found: Distribution) -> tuple[str, bool]:
    """The licence, and whether it is an SPDX expression."""
    metadata = found.metadata
    for expression in metadata.get_all("License-Expression") or ():
        return expression, True
    written = "".join(metadata.get_all("License") or ()).strip()
    if written not in ("", "UNKNOWN") and "\n" not in written and len(written) < 100:
        return written, False
    classes = [
        line.rsplit(" :: ", 1)[1]
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License :: ")
    ]
    return "; ".join(classes) or "not stated in its metadata", False


def _edges(found: dict[str, Distribution]) -> dict[str, set[str]]:
    """What each package depends on, extras that somebody asks for included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, set[str]] = {name: {""} for name in found}
    asked = [Requirement(line) for line in project["dependencies"]]
    asked += [one for name in found for one in _requirements(found[name], {""})]
    for one in asked:
        extras.get(canonicalize_name(one.name), set()).update(one.extras)
    return {
        name: {
            need
            for one in _requirements(found[name], extras[name])
            if (need := canonicalize_name(one.name)) in found and need != name
        }
        for name in found
    }


def _requirements(found: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for line in found.requires or ():
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate(PLATFORM | {"extra": x}) for x in extras):
            yield one


if __name__ == "__main__":
    main()
