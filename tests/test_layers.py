"""The import rules: packages import to the left, files inside a package never in a circle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ["weights", "extract", "model", "server"]
PACKAGES = [*ORDER, "tabletop", "clients"]
# Of `extract`, the model proper sees tracks only; these files are the ones that make them.
MAKES_TRACKS = {
    "model.data.missing",
    "model.data.tracks",
    "model.data.video_files",
    "model.evaluate.samples",
    "model.predict.predictor",
    "model.score.__main__",
    "model.score.cluster",
    "model.score.features",
    "model.train.__main__",
    "model.train.assemble",
    "model.train.datasets.ego4d",
    "model.train.datasets.tabletop",
    "model.train.new_skill.command",
    "model.train.presets",
}
DRAWS = {
    "model.train.presets",
    "model.train.datasets.tabletop",
    "model.train.__main__",
    "model.train.reproduce.command",
    "model.train.encoder.pretrain",
}
"""Only training imports the synthetic world."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


FILES = {module_name(p): imports_of(p) for name in PACKAGES for p in (ROOT / name).rglob("*.py")}


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_package_imports_only_from_those_before_it(module):
    package = module.split(".")[0]
    alone = package in ("clients", "tabletop")
    allowed = {package} if alone else set(ORDER[: ORDER.index(package) + 1])
    if module in DRAWS:
        allowed.add("tabletop")
    ours = {name for name in FILES[module] if name.split(".")[0] in {*PACKAGES, "tests", "bench"}}
    assert {name for name in ours if name.split(".")[0] not in allowed} == set()


def test_no_file_imports_itself_through_others():
    known = set(FILES)
    edges = {m: {n for n in FILES[m] if n in known and n != m} for m in known}
    done, path = set(), []

    def visit(module):
        assert module not in path, f"circle: {' -> '.join([*path[path.index(module) :], module])}"
        if module in done:
            return
        path.append(module)
        for other in edges[module]:
            visit(other)
        path.pop()
        done.add(module)

    for module in sorted(known):
        visit(module)


def test_the_model_proper_sees_tracks_and_not_pixels():
    for module, imports in FILES.items():
        makes_tracks = module in MAKES_TRACKS or module.startswith("model.train.encoder")
        if module.startswith("model") and not makes_tracks:
            seen = {n for n in imports if n.startswith("extract.")}
            allowed = ("extract.features.track", "extract.features.store", "extract.errors")
            assert {n for n in seen if not n.startswith(allowed)} == set(), module


@pytest.mark.parametrize(
    "dependency", ["decord", "faiss", "cv2", "onnxruntime", "torch_geometric", "pytorchvideo"]
)
def test_an_awkward_dependency_has_one_home(dependency):
    homes = {m for m, names in FILES.items() if dependency in {n.split(".")[0] for n in names}}
    assert len({home for home in homes if home.split(".")[0] != "tests"}) == 1, homes


def test_importing_the_model_does_not_import_training():
    assert not any(name.startswith("model.") for name in FILES["model.__init__"])
