from model.evaluate.report.write import write_report
from tests.model.evaluate.report.made_up import FACTS, make_result


def test_the_paper_stands_beside_only_where_asked(answered, written, tmp_path):
    _, page, *_ = written
    assert "paper" not in page.replace("--paper", "")
    result = make_result(*answered, beside_paper=True, lta_windows="before-2023-08")
    assert "25.1 %" in write_report(tmp_path, FACTS, [result]).read_text()
    assert result.columns["paper"]["lta"]["noun_ed"] == 0.752


def test_an_interval_by_sample_is_another_one_and_batch_means_come_when_asked(answered):
    by_video = make_result(*answered)
    by_sample = make_result(*answered, resample="sample", per_batch=7)
    assert by_video.intervals["lta"] != by_sample.intervals["lta"]
    assert by_video.per_batch == {}
    assert set(by_sample.per_batch) == {"ar", "lta", "oscc", "pnr"}
    assert by_sample.per_batch["pnr"]["error_s"] != by_sample.columns["model"]["pnr"]["error_s"]
