"""Every source file of some size has a test file of its own at the mirrored place.

`x/y/name.py` is tested by `tests/x/y/test_name.py`, and `x/__main__.py` by `tests/x/test_main.py`.
Files that are tested through another one stand in `TESTED_BY`, with the reason.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("weights", "tabletop", "extract", "model", "server", "clients")
SHORT = 60  # lines; a file that is no longer may be tested with its neighbour

TESTED_BY: dict[str, str] = {
    # Errors carry no logic: that each has its row in the table of problems is checked for all.
    "weights/errors.py": "tests/server/test_errors.py",
    "extract/errors.py": "tests/server/test_errors.py",
    "model/errors.py": "tests/server/test_errors.py",
    # Drawn shapes are compared as pictures: one noun alone, hands in whole frames.
    "tabletop/drawing/containers.py": "tests/tabletop/drawing/test_objects.py",
    "tabletop/drawing/food.py": "tests/tabletop/drawing/test_objects.py",
    "tabletop/drawing/hands.py": "tests/tabletop/files/test_footage.py",
    # Two uses of a command, each tried beside what it writes.
    "tabletop/__main__.py": "tests/tabletop/files/test_extra_labels.py",
    # Tables of names, addresses and settings: held to what is computed or fetched from them.
    "weights/published/catalogue.py": "tests/weights/published/test_fetch.py",
    "weights/published/encoders.py": "tests/weights/published/test_hub.py",
    "model/config.py": "tests/model/train/test_effects.py",
    "model/tasks.py": "tests/model/nn/test_graphs.py",
    # Response bodies, their examples and the slugs of problems: held to the OpenAPI document.
    "server/problem_types.py": "tests/server/api/test_openapi.py",
    "server/__main__.py": "tests/server/api/test_serve.py",
    "server/schemas/examples.py": "tests/server/api/test_openapi.py",
    "server/schemas/jobs.py": "tests/clients/results/test_jobs.py",
    "server/schemas/prediction.py": "tests/server/api/test_openapi.py",
    "server/schemas/teaching.py": "tests/server/api/routes/test_skills.py",
    "server/schemas/teaching_options.py": "tests/server/api/routes/test_skills.py",
    "server/api/uploads/labels.py": "tests/server/api/routes/test_skills.py",
    "server/api/oip/schemas.py": "tests/server/api/routes/test_oip.py",
    # Plain values without behaviour of their own: checked where they are made.
    "model/predict/outputs.py": "tests/model/predict/test_answers.py",
    "extract/decode/live/protocol.py": "tests/extract/decode/live/test_pictures.py",
    "server/settings/jobs.py": "tests/server/settings/test_checks.py",
    # Parts of what is taught over HTTP: tried there, with what they are for.
    "server/teaching/bodies.py": "tests/server/api/routes/test_skills.py",
    "server/teaching/clips.py": "tests/server/api/routes/test_clips.py",
    "server/teaching/labels.py": "tests/server/api/routes/test_skills.py",
    "server/teaching/versions.py": "tests/server/api/routes/test_skills.py",
    # Steps that only whole commands reach: run with them, on tiny data.
    "model/evaluate/options.py": "tests/model/evaluate/test_main.py",
    "model/evaluate/samples.py": "tests/model/evaluate/test_main.py",
    "model/evaluate/lta_rows.py": "tests/model/evaluate/test_main.py",
    # Windows of sequences: tried with what is sampled in them.
    "model/data/sequences.py": "tests/model/forecast/test_sequences.py",
    "model/train/forecast/ways.py": "tests/model/train/forecast/test_command.py",
    "model/train/datasets/ego4d.py": "tests/project/end_to_end/test_ego4d.py",
    "model/train/datasets/prepared.py": "tests/model/whole/test_own_table.py",
    "model/train/datasets/table.py": "tests/model/whole/test_own_table.py",
    "model/train/datasets/rendered.py": "tests/project/end_to_end/test_render.py",
    "model/train/datasets/tabletop.py": "tests/project/end_to_end/test_train.py",
    "model/train/new_skill/adding.py": "tests/model/train/new_skill/test_command.py",
    "model/train/new_skill/options.py": "tests/model/train/new_skill/test_command.py",
    "model/train/new_skill/scores.py": "tests/model/train/new_skill/test_command.py",
    "model/train/reproduce/report.py": "tests/project/end_to_end/test_reproduce.py",
    "clients/commands/backpack.py": "tests/clients/whole/test_real_server.py",
    "clients/commands/batch.py": "tests/clients/test_batch.py",
    "clients/commands/label_studio.py": "tests/clients/label_studio/test_fitting.py",
    "clients/commands/jobs.py": "tests/clients/whole/test_real_jobs.py",
    # Labels as values: what a skill is taught from.
    "model/data/tables/label_rows.py": "tests/model/train/new_skill/teaching/test_label_rows.py",
    # A real Ray cluster takes tens of seconds to start: one for all that needs it.
    "model/score/cluster.py": "tests/extract/cluster/test_extraction.py",
    "server/cluster/app.py": "tests/server/cluster/test_on_ray.py",
    "server/cluster/encoder_deployment.py": "tests/server/cluster/test_on_ray.py",
    "server/cluster/frontend_deployment.py": "tests/server/cluster/test_on_ray.py",
    "server/cluster/launch.py": "tests/server/cluster/test_on_ray.py",
    "server/cluster/messages.py": "tests/server/cluster/test_encoder_cache.py",
    # Parts without a caller but one, tested through it.
    "extract/decode/pyav/picture_list.py": "tests/extract/videos/test_odd_clips.py",
    "clients/lerobot.py": "tests/clients/commands/test_lerobot.py",
    "clients/capture.py": "tests/clients/commands/test_capture.py",
    "clients/api/background.py": "tests/clients/api/test_live.py",
    "clients/api/label_files.py": "tests/clients/api/test_skill_calls.py",
    "clients/results/skills.py": "tests/clients/api/test_skill_calls.py",
    "clients/api/outgoing.py": "tests/clients/api/test_live.py",
    "clients/results/live.py": "tests/clients/output/test_live.py",
    "extract/decode/live/decode.py": "tests/extract/sandbox/test_live.py",
    "extract/decode/pyav/geometry.py": "tests/extract/videos/test_odd_clips.py",
    "extract/encoders/precomputed.py": "tests/model/whole/test_attached.py",
    "model/nn/few_labels/voters.py": "tests/model/nn/few_labels/test_panel.py",
    "model/nn/multitask.py": "tests/model/train/methods/test_translation.py",
    "server/api/app.py": "tests/server/api/test_openapi.py",
    "server/live/pipeline.py": "tests/server/live/test_session.py",
}


def mirrored(source: Path) -> Path:
    name = "main" if source.stem == "__main__" else source.stem
    return Path("tests") / source.parent / f"test_{name}.py"


def sources() -> set[Path]:
    """Source files that are long enough to need a test file of their own."""
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {
        path.relative_to(ROOT)
        for path in found
        if path.name != "__init__.py" and len(path.read_text().splitlines()) > SHORT
    }


def test_every_source_has_its_test_at_the_mirrored_place_or_a_reason():
    expected = {str(source): mirrored(source) for source in sources()}
    missing = {
        source: str(test)
        for source, test in expected.items()
        if source not in TESTED_BY and not (ROOT / test).is_file()
    }
    assert missing == {}


def test_every_entry_is_needed_and_names_a_test():
    long = sources()
    assert [s for s in TESTED_BY if Path(s) not in long] == [], "gone, or short enough by now"
    has_its_own = [s for s in TESTED_BY if (ROOT / mirrored(Path(s))).exists()]
    assert has_its_own == []
    assert [t for t in TESTED_BY.values() if not (ROOT / t).is_file()] == []
