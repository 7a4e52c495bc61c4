"""From a table and features to a bundle, in this process; videos are in tests/project."""

import json

import pytest
import torch

from extract.encoders.load import encoder_from_spec
from extract.features.ids import as_id
from extract.features.store import FeatureStore
from extract.features.track import EncoderId, FeatureTrack
from extract.windows import count_windows
from model.data.tables.kinds import load_table
from model.errors import SearchInvalid
from model.evaluate.__main__ import main as evaluate
from model.predict.predictor import Predictor, PredictRequest
from model.predict.search import SearchQuery
from model.train.__main__ import main as train
from tests.model.support.tables import OUTPUTS, VIDEOS, write_table, write_tracks
from tests.support.factories import make_bundle
from weights.bundle import load_bundle, save_bundle

BRIEF = ("--set", "fit.epochs=1", "--set", "hidden_size=8", "--workers", "1")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A table, a bundle that has an encoder, and features by it."""
    root = tmp_path_factory.mktemp("own")
    save_bundle(make_bundle(), root / "encoder")
    write_table(root / "labels.csv")
    write_tracks(root / "features", encoder=Predictor.from_bundle(root / "encoder").encoder)
    return root


def learn(root, *more, table="labels.csv", out="bundle", brief=BRIEF):
    return train(
        [
            "--data", f"table:{root / table}", "--features", str(root / "features"),
            "--work", str(root / f"work-{out}"), "--out", str(root / out), *brief, *more,
        ]
    )  # fmt: skip


def answer(root, bundle, video=VIDEOS[2], encoder=None):
    predictor = Predictor.from_bundle(root / bundle, encoder=encoder)
    track = FeatureStore(root / "features").read(video)
    return predictor.predict([PredictRequest(track, frozenset(predictor.tasks))])[0]


@pytest.fixture(scope="module")
def bundle(root):
    assert learn(root, "--encoder", str(root / "encoder")) == 0
    return root / "bundle"


@pytest.mark.slow(8)
class TestBundleOfATable:
    def test_has_the_tables_tasks_the_encoder_and_a_card(self, bundle):
        loaded = load_bundle(bundle)
        manifest = loaded.manifest
        assert list(manifest.skills) == ["ar", "lta", "which-hand"]
        assert manifest.name == "table-labels"
        assert manifest.encoder["name"] == "tiny"
        assert loaded.encoder
        table = load_table(f"table:{bundle.parent / 'labels.csv'}")
        for column, output in {"verb": "verb", "Which hand?": "which-hand"}.items():
            assert manifest.label_spaces[output] == table.names(column)
        facts = manifest.training["table"]
        assert facts["videos"] == {"train": 3, "val": 1}
        card = (bundle / "MODEL_CARD.md").read_text()
        for words in ("table:labels.csv", "96 segments", "| Which hand? | which-hand | 3 |",
                      "The encoder tiny", "--encoder encoder", "verb and noun"):  # fmt: skip
            assert words in card
        assert "Ego4D" not in card

    def test_answers_ar_and_lta_as_always_and_the_third_column_as_a_skill(self, bundle):
        found = answer(bundle.parent, "bundle")
        segment = found.segments[0]
        assert {r.label for r in segment.ar.verb} == set(OUTPUTS["verb"])
        assert {r.label for r in segment.skills["which-hand"].labels} == {"left", "right", "both"}
        assert len(found.lta.hypotheses) == 5
        near = segment.evidence.neighbours["which-hand"]["ar"][0]
        assert near.verb in OUTPUTS["verb"]
        assert near.labels is None

    def test_is_evaluated_on_its_own_table_to_the_figures_of_its_manifest(self, bundle, tmp_path):
        root, out = bundle.parent, tmp_path / "figures.json"
        assert evaluate([
            "--bundle", str(bundle), "--data", f"table:{root / 'labels.csv'}",
            "--features", str(root / "features"), "--json", str(out),
            "--out", str(tmp_path / "report"),
        ]) == 0  # fmt: skip
        figures, kept = json.loads(out.read_text()), load_bundle(bundle).manifest.metrics
        assert set(figures) == {"val"}
        for task, metrics in kept["val"].items():
            for name, value in metrics.items():
                assert figures["val"]["model"][task][name] == pytest.approx(value, abs=1e-6)

    def test_a_rerun_trains_nothing_and_gives_the_same_bundle(self, bundle, caplog):
        before = load_bundle(bundle).sha256
        with caplog.at_level("INFO"):
            assert learn(bundle.parent, "--encoder", str(bundle.parent / "encoder")) == 0
        assert "stage " not in caplog.text
        assert load_bundle(bundle).sha256 == before


@pytest.mark.slow(6)
def test_a_table_without_verbs_has_rows_of_what_is_named(root, capsys):
    write_table(root / "steps.csv", columns=("noun", "Which hand?"))
    assert learn(root, table="steps.csv", out="steps") == 1
    assert "such as --prototypes noun" in capsys.readouterr().err
    more = ("--prototypes", "noun", "Which hand?")
    assert learn(root, *more, table="steps.csv", out="steps") == 0
    manifest = load_bundle(root / "steps").manifest
    assert set(manifest.skills) == {"noun", "which-hand"}
    assert manifest.encoder == {"name": "tiny", "kind": "features"}
    assert "knows the features' encoder by name" in (root / "steps" / "MODEL_CARD.md").read_text()
    found = answer(root, "steps", encoder=Predictor.from_bundle(root / "encoder").encoder)
    (near, *_) = found.segments[0].evidence.neighbours["noun"]["which-hand"]
    assert set(near.labels) == {"noun", "which-hand"}
    assert near.verb is None
    predictor = Predictor.from_bundle(root / "steps")
    with pytest.raises(SearchInvalid, match="of noun and which-hand: search it with a clip"):
        predictor.backpacks.of_action("take", "pan", SearchQuery())


@pytest.mark.slow(6)
def test_one_column_makes_a_bundle_with_its_forecast_that_learns_a_new_skill(root):
    write_table(root / "nouns.csv", columns=("noun",))
    own = ("--encoder", str(root / "encoder"))
    assert learn(root, *own, table="nouns.csv", out="nouns") == 0
    assert set(load_bundle(root / "nouns").manifest.skills) == {"noun", "next-noun"}
    (root / "hand.toml").write_text('name = "hand"\nkind = "segment"\n')
    with (root / "hand.csv").open("w") as file:
        print("video,start_s,end_s,label", file=file)
        for video in VIDEOS[2:]:
            for row in range(12):
                print(video, 2 * row, 2 * row + 2, ("left", "right")[row % 2], sep=",", file=file)
    assert train([
        "--learn", str(root / "hand.toml"), "--labels", str(root / "hand.csv"),
        "--features", str(root / "features"), "--bundle", str(root / "nouns"),
        "--work", str(root / "work-hand"), "--out", str(root / "with-hand"),
    ]) == 0  # fmt: skip
    found = answer(root, "with-hand")
    assert found.lta is None
    assert len(found.skills["next-noun"].steps) == 20
    assert {r.label for r in found.segments[0].skills["hand"].labels} == {"left", "right"}
    assert set(found.segments[0].evidence.neighbours["hand"]["noun"][0].labels) == {"noun"}


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        ({"rows": 5}, (), "15 rows are for training, and 16 are the least"),
        ({"rows": 21}, ("--forecaster",), "--forecaster: looks back on AR"),
        ({}, ("--tasks", "oscc"), "--tasks oscc: the tasks of this table are ar, lta, which-hand"),
        ({"rows": 21}, ("--tasks", "lta"), "lta is left out, and it is all that --tasks names"),
        ({}, ("--prototypes", "colour"), "--prototypes colour: "),
        ({}, ("--outputs", "verb", "place"), "there is no column 'place'"),
        ({"columns": ("verb",), "rows": 8}, ("--protocol", "paper"), "needs two tasks"),
        ({}, ("--method", "mtl", "--prototypes", "noun"), "--prototypes: there is no backpack"),
        ({"rows": 25}, (), "rows beyond the end of their video"),
        ({"videos": (*VIDEOS, "fifth")}, (), "fifth"),
    ],
)
def test_what_cannot_be_learnt_is_said(root, made, options, said, capsys):
    write_table(root / "broken.csv", **made)
    assert learn(root, *options, table="broken.csv", out="broken") == 1
    assert said in capsys.readouterr().err


@pytest.mark.slow(6)
@pytest.mark.parametrize("how", ["merge", "drop"])
def test_rare_labels_are_named_then_treated_in_evaluation_as_in_training(root, how, capsys):
    lines = write_table(root / "rare.csv").read_text("utf-8").splitlines()
    split = dict(zip(VIDEOS, ("train", "train", "val", "train"), strict=True))
    rows = [f"{line},{split[line.split(',')[0]]}" for line in lines[1:]]
    rows = [row.replace("take", "juggle") if row.endswith("val") else row for row in rows]
    few = next(i for i, row in enumerate(rows) if row.endswith("train") and "cut" in row)
    rows[few] = rows[few].replace("cut", "peel")
    (root / "rare.csv").write_text("\n".join([f"{lines[0]},split", *rows]), "utf-8")
    assert learn(root, table="rare.csv", out=how) == 1
    assert "'juggle' (0 of " in capsys.readouterr().err
    own = ("--encoder", str(root / "encoder"), "--rare", how)
    assert learn(root, *own, table="rare.csv", out=how) == 0
    manifest = load_bundle(root / how).manifest
    known = {"cut", "other", "put", "take"} if how == "merge" else {"cut", "peel", "put", "take"}
    assert set(manifest.label_spaces["verb"]) == known
    assert (
        evaluate(
            [
                "--bundle",
                str(root / how),
                "--data",
                f"table:{root / 'rare.csv'}",
                "--features",
                str(root / "features"),
                "--json",
                str(root / "rare.json"),
            ]
        )
        == 0
    )
    figures = json.loads((root / "rare.json").read_text())["val"]["model"]["ar"]
    assert figures == pytest.approx(manifest.metrics["val"]["ar"], abs=1e-6)


@pytest.mark.slow(3)
def test_windows_of_the_encoder_reach_the_model(tmp_path):
    made = make_bundle()
    entry = {**made.manifest.encoder}
    entry["contract"] = {**entry["contract"], "window_frames": 64, "stride_frames": 48}
    encoder = encoder_from_spec({**entry, "fingerprint": None}, made.encoder)
    save_bundle(make_bundle(encoder=encoder), tmp_path / "encoder")
    write_table(tmp_path / "labels.csv")
    made_by, frames = EncoderId(encoder.name, encoder.fingerprint), 24 * 60
    count = count_windows(frames, encoder.contract)
    for video in VIDEOS:
        rows = torch.randn(count, encoder.dim)
        track = FeatureTrack.of_windows(rows, frames, encoder.contract, made_by, as_id(video))
        FeatureStore(tmp_path / "features").write(track)
    assert learn(tmp_path, "--encoder", str(tmp_path / "encoder")) == 0
    model = load_bundle(tmp_path / "bundle").manifest.model
    assert (model["window_frames"], model["stride_frames"]) == (64, 48)
    assert len(answer(tmp_path, "bundle").segments) == 6
