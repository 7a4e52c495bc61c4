from model.evaluate.tables import arrow, format_table, format_value

FIGURES = {"ar": {"verb_top1": 0.25, "verb_ece": 0.1, "samples": 9.0}, "pnr": {"error_s": 0.61}}


def test_a_table_has_a_row_per_metric_and_a_column_per_answer():
    table = format_table("val", {"model": FIGURES, "chance": {"ar": {"verb_top1": 0.05}}})
    assert table.splitlines() == [
        "| val | model | chance |",
        "|---|---:|---:|",
        "| ar verb_top1 ↑ | 0.250 | 0.050 |",
        "| ar verb_ece ↓ | 0.100 |  |",
        "| pnr error_s ↓ | 0.610 |  |",
    ]


def test_an_interval_stands_beside_its_figure():
    table = format_table("val", {"model": FIGURES}, {"ar": {"verb_top1": (0.2, 0.3)}, "pnr": {}})
    assert "| ar verb_top1 ↑ | 0.250 [0.200, 0.300] |" in table
    assert "| pnr error_s ↓ | 0.610 |" in table


def test_figures_carry_their_unit():
    assert format_value("verb_top1", 0.251) == "25.1 %"
    assert format_value("class_mean", 1.0) == "100.0 %"
    assert format_value("error_s", 0.6104) == "0.610 s"
    assert format_value("verb_ed", 0.728) == "0.728"
    assert [arrow(m) for m in ("accuracy", "action_aued", "ece")] == ["↑", "↓", "↓"]
