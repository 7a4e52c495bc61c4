"""The table of contents: packages and their entries in the order in which imports run.

An entry is a file or a folder directly inside a package. A file imports only from packages to the
left of its own, and inside its package only from its own entry and those that stand before it.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTENTS = {
    "weights": "errors imports storage bundle authors published __main__",
    "extract": (
        "errors cpu contract windows decode sandbox encoders runtime features dataset cluster "
        "__main__"
    ),
    "model": "errors config tasks nodes distributed data nn forecast predict evaluate score train",
    "server": (
        "problem_types errors settings telemetry schemas scheduling engine live jobs teaching "
        "playground api cluster __main__"
    ),
    "tabletop": "errors story motion drawing files __main__",
    "clients": (
        "errors results output api client capture local batch lerobot doctor label_studio "
        "commands __main__"
    ),
}
ENTRIES = {package: entries.split() for package, entries in CONTENTS.items()}
ORDER = ["weights", "extract", "model", "server"]
"""Each imports from those to its left; `tabletop` and `clients` import nothing of ours."""
DRAWS = "model.train"
"""Alone imports `tabletop`."""
MOST_ENTRIES = 14
PATHS = re.findall(
    r"## (The path of [^\n]+)\n.*?```text\n(.*?)```",
    (ROOT / "docs" / "architecture.md").read_text(),
    re.DOTALL,
)
"""Title and lines of every path through the files that the document draws."""


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


SOURCES = {module_name(p): p for package in ENTRIES for p in (ROOT / package).rglob("*.py")}


@cache
def imports_of(module: str) -> frozenset[str]:
    """Returns what a file imports, and which of our modules it starts as a program of its own."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and node.value in SOURCES and "." in str(node.value):
            found.add(str(node.value))
    return frozenset(found)


@cache
def ours(module: str) -> frozenset[str]:
    """Returns the files among a file's imports; a package's `__init__` only where it is asked."""
    return frozenset(name for name in imports_of(module) if name in SOURCES and name != module)


@cache
def reached(module: str) -> frozenset[str]:
    """Returns every file that is imported through a file."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = ours(waiting.pop()) - found
        found |= new
        waiting += new
    return frozenset(found)


def entry(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("package", ENTRIES)
def test_the_table_of_contents_names_every_entry(package):
    there = {
        path.stem
        for path in (ROOT / package).iterdir()
        if path.suffix == ".py" or any(path.glob("*.py"))
    }
    assert there - {"__init__"} == set(ENTRIES[package])


@pytest.mark.parametrize("package", ENTRIES)
def test_a_file_imports_only_what_stands_before_it(package):
    left = set(ORDER[: ORDER.index(package)] if package in ORDER else ())
    for module in (name for name in SOURCES if name.split(".")[0] == package and "." in name):
        for other in imports_of(module):
            home = other.split(".")[0]
            if home == package and other in SOURCES and "." in other:
                places = ENTRIES[package].index(entry(other)), ENTRIES[package].index(entry(module))
                assert places[0] <= places[1], f"{module} imports {other}, which stands after it"
            elif home in {*ENTRIES, "tests", "bench"} - {package}:
                draws = home == "tabletop" and module.startswith(DRAWS)
                assert home in left or draws, f"{module} imports {other}"


def test_no_file_imports_itself_through_others():
    circles = sorted(module for module in SOURCES if module in reached(module))
    assert circles == []


def test_a_folder_can_be_taken_in_at_a_glance():
    others = (path for name in ("tests", "bench") for path in (ROOT / name).rglob("*.py"))
    folders = {path.parent for path in (*SOURCES.values(), *others)}
    sizes = {
        str(folder.relative_to(ROOT)): len(
            [p for p in folder.iterdir() if p.name not in ("__init__.py", "__pycache__")]
        )
        for folder in folders
    }
    assert {folder: size for folder, size in sizes.items() if size > MOST_ENTRIES} == {}


@pytest.mark.parametrize(("title", "lines"), PATHS, ids=[title for title, _ in PATHS])
def test_a_path_of_the_document_follows_the_imports(title, lines):
    """A line stands under the file that calls it: that file reaches it, and it never calls back."""
    callers: list[tuple[int, str]] = []
    count = 0
    for line in lines.splitlines():
        drawn = re.match(r"( *)((?:\w+/)+\w+\.py)\b", line)
        if drawn is None:
            continue
        depth, file = len(drawn[1]), drawn[2]
        module = module_name(ROOT / file)
        assert module in SOURCES, f"{title}: there is no {file}"
        while callers and callers[-1][0] >= depth:
            callers.pop()
        if callers:
            caller = callers[-1][1]
            assert module in reached(caller), f"{title}: {caller} does not reach {file}"
            assert caller not in reached(module), f"{title}: {file} climbs back to {caller}"
        callers.append((depth, module))
        count += 1
    assert count >= 10


def test_the_document_draws_its_paths():
    assert len(PATHS) == 5


@pytest.mark.parametrize(
    "dependency",
    ["decord", "faiss", "cv2", "onnxruntime", "torch_geometric", "pytorchvideo", "huggingface_hub"]
    + ["timm", "transformers"],
)
def test_an_awkward_dependency_has_one_home(dependency):
    homes = {
        module
        for module in SOURCES
        if dependency in {name.split(".")[0] for name in imports_of(module)}
    }
    assert len(homes) == 1, homes
