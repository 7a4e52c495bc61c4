"""The command on a made-up tree in Ego4D's layout: annotations and features, not one video."""

import json
import shutil
from dataclasses import replace

import pytest

from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from model.evaluate.__main__ import main
from model.predict.predictor import Predictor
from tests.model.support.feature_tree import FRAMES, made_rows
from tests.support.factories import make_bundle, make_track, with_forecaster
from weights.bundle import save_bundle


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A bundle, a data root and two feature sets: the bundle's own, and another encoder's."""
    root = tmp_path_factory.mktemp("world")
    bundle = make_bundle()
    save_bundle(bundle, root / "bundle")
    encoder = Predictor(bundle).encoder
    annotations = root / "v1" / "annotations"
    annotations.mkdir(parents=True)
    names = bundle.manifest.label_spaces
    taxonomy = {"verbs": names["verb"], "nouns": names["noun"]}
    (annotations / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy))
    for split, videos in {"train": ["t0"], "val": ["a", "b", "c"]}.items():
        rows = [made_rows(video, seed) for seed, video in enumerate(videos)]
        for stem, kind in (("fho_lta", 0), ("fho_oscc-pnr", 1)):
            clips = {"clips": [line for both in rows for line in both[kind]]}
            (annotations / f"{stem}_{split}.json").write_text(json.dumps(clips))
        for seed, video in enumerate(videos if split == "val" else []):  # train needs no features
            width = bundle.manifest.model["input_size"]
            mine = EncoderId(encoder.name, encoder.fingerprint)
            track = make_track(FRAMES, seed=seed, video_id=video, encoder=mine, width=width)
            FeatureStore(root / "v1" / "mine").write(track)
            FeatureStore(root / "v1" / "bare").write_bare(track)
            FeatureStore(root / "v1" / "foreign").write(
                replace(track, encoder=EncoderId("other", "e" * 64))
            )
            FeatureStore(root / "v1" / "wide").write_bare(
                make_track(FRAMES, video_id=video, width=7)
            )
    return root


def run(world, *more, features="mine"):
    return main(["--bundle", str(world / "bundle"), "--data", str(world),
                 "--features", str(features), *map(str, more)])  # fmt: skip


@pytest.mark.slow
def test_a_report_a_json_and_a_table_come_out(world, tmp_path, capsys):
    assert run(world, "--out", tmp_path / "report", "--json", tmp_path / "plain.json") == 0
    out = capsys.readouterr()
    assert "| ar verb_top1 ↑ |" in out.out
    assert str(tmp_path / "report" / "report.html") in out.err
    plain = json.loads((tmp_path / "plain.json").read_text())
    assert set(plain["val"]) == {"model", "chance", "frequency", "forecasts"}
    assert set(plain["val"]["model"]) == {"ar", "lta", "oscc", "pnr"}
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert report["splits"]["val"]["model"] == plain["val"]["model"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "not comparable to the paper" in page


def test_ways_to_forecast_are_compared_and_a_forecaster_is_one_of_them(world, tmp_path, capsys):
    save_bundle(with_forecaster(make_bundle()), tmp_path / "bundle")
    figures = []
    for bundle in (world, tmp_path):
        assert run(world, "--bundle", bundle / "bundle", "--json", tmp_path / "m.json") == 0
        figures.append(json.loads((tmp_path / "m.json").read_text())["val"])
    out = capsys.readouterr().out
    assert out.count("| repeat, recognised past | – |") == 2
    assert out.count("| sequence forecaster | set |") == 1
    assert "| sequence forecaster (set) − LTA's graph (set) |" in out
    (plain, ours) = ({(r["name"], r["choice"]): r for r in f["forecasts"]} for f in figures)
    assert set(ours) - set(plain) == {("sequence forecaster", c) for c in ("independent", "set")}
    assert all(ours[key] == plain[key] for key in plain)
    graph, sequence = (
        plain["LTA's graph", "independent"],
        ours["sequence forecaster", "independent"],
    )
    for metric in ("verb_ed", "noun_ed", "action_ed"):
        assert figures[0]["model"]["lta"][metric] == graph[metric]
        assert figures[1]["model"]["lta"][metric] == sequence[metric]


def test_without_test_truth_val_alone_is_scored_and_that_is_said(world, tmp_path, capsys):
    assert run(world, "--json", tmp_path / "m.json") == 0
    assert "val alone is scored" in capsys.readouterr().err
    assert set(json.loads((tmp_path / "m.json").read_text())) == {"val"}
    assert run(world, "--split", "test") == 2
    assert "fho_lta_test.json" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("features", ["mine", "bare"])
def test_features_come_by_name_or_folder_and_score_alike(world, tmp_path, features):
    for place in (features, world / "v1" / features):
        assert run(world, "--json", tmp_path / "m.json", features=place) == 0
        found = json.loads((tmp_path / "m.json").read_text())["val"]["model"]
        reference = tmp_path / "reference.json"
        assert run(world, "--json", reference) == 0
        for task, figures in json.loads(reference.read_text())["val"]["model"].items():
            assert found[task] == pytest.approx(figures, abs=1e-6)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ("foreign", "holds features of other eeeeeeeeeeee"),
        ("wide", "holds vectors of 7 numbers, this bundle needs 6"),
        ("nowhere", "--datasets nowhere"),
    ],
)
def test_features_that_do_not_fit_are_refused(world, capsys, features, said):
    assert run(world, features=features) == 2
    assert said in capsys.readouterr().err


def copied(world, place, name, change, version="v1"):
    """The world with one annotation file changed."""
    for part in ("annotations", "mine"):
        shutil.copytree(world / "v1" / part, place / version / part)
    file = place / version / "annotations" / name
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))
    return ["--bundle", str(world / "bundle"), "--data", str(place), "--features", "mine"]


def test_another_taxonomy_is_refused(world, tmp_path, capsys):
    more = copied(world, tmp_path, "fho_lta_taxonomy.json", lambda v: v["nouns"].append("new"))
    assert main(more) == 2
    assert "has 5 nouns, this bundle knows 4" in capsys.readouterr().err


def test_a_taxonomy_in_another_order_is_refused(world, tmp_path, capsys):
    more = copied(world, tmp_path, "fho_lta_taxonomy.json", lambda v: v["verbs"].reverse())
    assert main(more) == 2
    assert "verb 0 is 'verb4' in fho_lta_taxonomy.json and 'verb0' in this bundle" in (
        capsys.readouterr().err
    )


def test_the_version_asked_for_is_scored_else_v1_else_v2(world, tmp_path, capsys):
    def drop(values):
        values["clips"] = values["clips"][:40]

    def longer(values):
        values["nouns"].append("new")

    two = copied(world, tmp_path, "fho_oscc-pnr_val.json", drop, version="v2")
    kept = tmp_path / "m.json"
    assert main([*two, "--json", str(kept)]) == 0  # v2 is alone
    assert json.loads(kept.read_text())["val"]["model"]["oscc"]["samples"] == 40
    copied(world, tmp_path, "fho_lta_taxonomy.json", longer)
    assert main(two) == 2  # v1, which is there now
    assert "choose that with --version" in capsys.readouterr().err
    assert main([*two, "--version", "v2", "--json", str(kept)]) == 0
    assert json.loads(kept.read_text())["val"]["model"]["oscc"]["samples"] == 40


@pytest.mark.slow
def test_a_task_without_samples_is_left_out_and_that_is_said(world, tmp_path, capsys):
    def shorten(values):  # too few actions for one window of LTA
        values["clips"] = [c for c in values["clips"] if c["action_idx"] < 9]

    arguments = copied(world, tmp_path, "fho_lta_val.json", shorten)
    assert main([*arguments, "--out", str(tmp_path / "report")]) == 0
    out = capsys.readouterr()
    assert "val has no sample of lta: not scored" in out.err
    assert "lta" not in out.out


def test_labels_that_are_all_null_leave_their_task_out_and_without_any_nothing_is_scored(
    world, tmp_path, capsys
):
    def hide(values):
        for row in values["clips"]:
            row |= {"noun_label": None, "state_change": None}

    arguments = copied(world, tmp_path, "fho_lta_val.json", hide)
    assert main(arguments) == 0
    assert "val has no sample of ar, lta: not scored" in capsys.readouterr().err
    file = tmp_path / "v1" / "annotations" / "fho_oscc-pnr_val.json"
    values = json.loads(file.read_text())
    hide(values)
    file.write_text(json.dumps(values))
    assert main(arguments) == 2
    assert "val has no labelled sample of ar, lta, oscc, pnr" in capsys.readouterr().err


def test_the_paper_is_not_shown_beside_another_world(world, capsys):
    assert run(world, "--compare-paper") == 2
    assert "needs a bundle that learnt from Ego4D" in capsys.readouterr().err


@pytest.mark.slow
def test_a_bundle_that_learnt_from_ego4d_stands_beside_the_paper(world, tmp_path):
    bundle = make_bundle()
    learnt = replace(bundle.manifest, training={"data": "Ego4D v1"})
    save_bundle(replace(bundle, manifest=learnt), tmp_path / "bundle")
    for more, shown in (([], True), (["--no-compare-paper"], False)):
        assert main(["--bundle", str(tmp_path / "bundle"), "--data", str(world), "--features",
                     "mine", "--json", str(tmp_path / "m.json"), *more]) == 0  # fmt: skip
        assert ("paper" in json.loads((tmp_path / "m.json").read_text())["val"]) == shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "trained", "windows", "told"),
    [
        ([], None, 15, False),
        ([], "before-2023-08", 12, True),
        (["before-2023-08"], None, 12, True),
        (["current"], "before-2023-08", 15, False),
    ],
)
def test_the_papers_anticipation_stands_beside_its_own_windows_alone(
    world, tmp_path, capsys, asked, trained, windows, told
):
    bundle, training = make_bundle(), {"data": "Ego4D v1"}
    if trained:
        training["lta_windows"] = trained
    save_bundle(replace(bundle, manifest=replace(bundle.manifest, training=training)), tmp_path)
    options = ["--lta-windows", *asked] if asked else []
    assert main(["--bundle", str(tmp_path), "--data", str(world), "--features", "mine",
                 "--json", str(tmp_path / "m.json"), *options]) == 0  # fmt: skip
    shown = json.loads((tmp_path / "m.json").read_text())["val"]
    assert shown["model"]["lta"]["samples"] == windows  # 5 a video, or one fewer
    assert ("lta" in shown["paper"]) == told
    assert {"ar", "oscc", "pnr"} <= set(shown["paper"])
    assert ("--lta-windows before-2023-08 scores the same" in capsys.readouterr().err) != told


@pytest.mark.parametrize("wrong", [["--out", "m.json"], ["--per-batch", "0"], ["--per-batch", "4"]])
def test_options_that_cannot_be_meant_are_refused(world, wrong, capsys):
    with pytest.raises(SystemExit) as refused:
        run(world, *wrong)
    assert refused.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_packing_what_is_not_given_is_refused(world, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--data", str(world), "--packed-under", str(tmp_path)])
    assert "--packed-under: packs --features" in capsys.readouterr().err


def test_futures_can_be_drawn_at_another_temperature(world, tmp_path):
    for name, more in (("a", []), ("b", ["1"]), ("c", ["0.2"])):
        how = ["--future-temperature", *more] if more else []
        assert run(world, "--json", tmp_path / name, *how) == 0
    a, b, c = (json.loads((tmp_path / name).read_text())["val"]["model"] for name in "abc")
    assert a == b
    assert a.pop("lta") != c.pop("lta")
    assert a == c


def test_the_seed_repeats_the_run(world, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert run(world, "--json", tmp_path / name, "--seed", seed) == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
