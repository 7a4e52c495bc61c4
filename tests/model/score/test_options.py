import pytest

from tests.model.support.challenge import score


@pytest.mark.parametrize(
    "wrong", [["--tasks", "ar"], ["--observed", "0"], ["--batch-size", "0"], ["--seed", "x"],
              ["--future-temperature", "0"], ["--future-temperature", "nan"]]
)  # fmt: skip
def test_senseless_options_are_refused(root, tmp_path, wrong):
    with pytest.raises(SystemExit) as stopped:
        score(root, tmp_path, *wrong)
    assert stopped.value.code == 2
