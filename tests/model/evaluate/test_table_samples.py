"""What a bundle and a table have in common is scored; what the bundle does not know is not."""

import pytest

from model.errors import AnnotationInvalid
from model.evaluate.__main__ import main
from model.evaluate.options import EvaluateOptions
from model.evaluate.table_samples import TableSource
from model.predict.predictor import Predictor
from tests.model.support.tables import VIDEOS, write_tracks
from tests.support.factories import make_bundle
from weights.bundle import save_bundle

HEADER = "video,start_s,end_s,split,verb,noun,place"
SPLIT = dict(zip(VIDEOS, ("train", "train", "val", "test"), strict=True))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The bundle of the four tasks, and features of videos by its encoder."""
    root = tmp_path_factory.mktemp("scored")
    save_bundle(make_bundle(), root / "bundle")
    write_tracks(root / "features", encoder=Predictor.from_bundle(root / "bundle").encoder)
    return root


@pytest.fixture
def table(root):
    lines = [
        f"{video},{2 * row},{2 * row + 2},{split},verb{row % 5},noun{row % 4},here"
        for video, split in SPLIT.items()
        for row in range(24)
    ]
    path = root / "labels.csv"

    def write(*more, change=lambda line: line):
        path.write_text("\n".join([HEADER, *map(change, lines), *more]) + "\n", "utf-8")
        return path

    return write


def source(root, path):
    options = EvaluateOptions(
        data=f"table:{path}", fps=None, overlaps=None, features=str(root / "features"), videos=None
    )
    return TableSource.open(Predictor.from_bundle(root / "bundle"), options)


def test_ar_and_lta_are_what_the_four_tasks_and_verbs_and_nouns_have_in_common(root, table, capsys):
    assert main([
        "--bundle", str(root / "bundle"), "--data", f"table:{table()}",
        "--features", str(root / "features"), "--split", "val",
    ]) == 0  # fmt: skip
    said = capsys.readouterr()
    rows = {line.split()[1] for line in said.out.splitlines() if line.startswith("| ")}
    assert {"ar", "lta,"} <= rows
    assert not rows & {"oscc", "pnr", "place"}
    assert "val has no sample of oscc, pnr: not scored" in said.err
    assert "paper" not in said.out


def test_samples_have_the_ids_of_the_bundle(root, table):
    found = source(root, table())
    assert found.splits == ["val", "test"]
    assert set(found.specs) == {"ar", "lta"}
    samples, gone = found.of_split("test")
    assert gone == []
    assert samples["ar"].labels["verb"][:, 0].tolist() == [row % 5 for row in range(24)]
    assert len(samples["lta"]) == 3
    train = found.of_training()
    assert len(train["ar"]) == 48


def test_labels_that_the_bundle_does_not_know_are_named_and_not_scored(root, table):
    path = table(change=lambda line: line.replace("verb3", "juggle"))
    found = source(root, path)
    (note,) = found.notes
    assert "the bundle knows no verb 'juggle': " in note
    samples, _ = found.of_split("val")
    assert int((samples["ar"].labels["verb"] == -1).sum()) == 5


def test_a_table_of_other_labels_is_refused(root, tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("video,start_s,end_s,step\na,0,1,x\n")
    with pytest.raises(AnnotationInvalid, match="labels of step, and this bundle answers ar, lta"):
        source(root, path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "table:x.csv", "--version", "v1"], "--version: for data in Ego4D's layout"),
        (["--data", "ROOT", "--videos", "DIR"], "--videos: for --data by name, KIND:ROOT alone"),
        (["--data", "tabel:x.csv"], "KIND:ROOT has one of the kinds table, epic-kitchens"),
    ],
)
def test_flags_that_do_not_suit_the_data_are_refused(options, said, capsys):
    with pytest.raises(SystemExit):
        main(options)
    assert said in capsys.readouterr().err
