import pytest

from model.errors import ModelError
from model.evaluate.report.figures import to_png
from model.evaluate.report.sweep import read_sweep, sweep_exhibit

HEAD = "k,task,metric,value,std\n"


def test_a_sweep_is_read_and_drawn(tmp_path):
    file = tmp_path / "k.csv"
    file.write_text(HEAD + "0,ar,verb_top1,0.2,0.01\n4,ar,verb_top1,0.3,\n4,pnr,error_s,0.6,0.1\n")
    rows = read_sweep(file)
    found = [(r["k"], r["value"], r["std"]) for r in rows]
    assert found == [(0, 0.2, 0.01), (4, 0.3, 0), (4, 0.6, 0.1)]
    exhibit = sweep_exhibit(rows)
    assert exhibit.name == "sweep-k"
    titles = [axes.get_title() for axes in exhibit.figure.axes]
    assert titles == ["ar verb_top1 ↑", "pnr error_s ↓"]
    line = exhibit.figure.axes[0].lines[0]
    assert line.get_xydata().tolist() == [[0, 0.2], [4, 0.3]]
    assert to_png(exhibit.figure)[:4] == b"\x89PNG"


def test_methods_become_curves_of_one_panel(tmp_path):
    file = tmp_path / "d.csv"
    file.write_text(
        "depth,method,task,metric,value,std\n"
        + "".join(
            f"{d},{m},ar,verb_top1,0.{d},0\n" for m in ("a", "b", "c", "d", "e") for d in (2, 1)
        )
    )
    exhibit = sweep_exhibit(read_sweep(file))
    (axes,) = exhibit.figure.axes[:1]
    assert axes.get_legend_handles_labels()[1] == ["a", "b", "c", "d", "e"]
    assert axes.lines[0].get_xydata().tolist() == [[1, 0.1], [2, 0.2]]  # in order of depth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found no line"),
        ("layers,task,metric,value,std\n1,ar,a,1,1\n", "expected the columns k or depth"),
        ("k,task,metric,value\n1,ar,a,1\n", "found k, task, metric, value"),
        (HEAD + "one,ar,a,1,1\n", "could not convert"),
    ],
)
def test_a_sweep_that_is_none_is_refused(tmp_path, text, said):
    file = tmp_path / "x.csv"
    file.write_text(text)
    with pytest.raises(ModelError, match=said):
        read_sweep(file)
