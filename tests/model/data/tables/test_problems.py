import pytest

from model.data.tables.problems import MOST_SHOWN, Problems
from model.errors import AnnotationInvalid


def said(count, remedy=""):
    problems = Problems("labels.csv", remedy)
    for line in range(count):
        problems.add(f"line {line}")
    with pytest.raises(AnnotationInvalid) as error:
        problems.check()
    return str(error.value)


def test_none_is_no_error_one_is_a_line_and_many_are_a_bounded_list():
    Problems("labels.csv", "do this").check()
    assert said(1, "Do this.") == "labels.csv: line 0. Do this."
    assert said(2) == "labels.csv:\n  line 0\n  line 1"
    lines = said(MOST_SHOWN + 3, "Do this.").splitlines()
    assert lines[1:-2] == [f"  line {line}" for line in range(MOST_SHOWN)]
    assert lines[-2:] == ["  ... and 3 more", "  Do this."]
