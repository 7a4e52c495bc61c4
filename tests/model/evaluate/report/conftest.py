import pytest

from model.evaluate.report.collect import answer_split
from model.evaluate.report.write import write_report
from tests.model.evaluate.report.synthetic_report import FACTS, make_exhibits, make_result
from tests.model.support.samples import make_split
from tests.support.factories import TINY, make_skills


@pytest.fixture(scope="session")
def answered():
    split = make_split(24, videos=4)
    return split, answer_split(make_skills(), split, TINY)


@pytest.fixture(scope="session")
def written(answered, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    split, answers = answered
    result = make_result(split, answers, make_exhibits(split, answers))
    told = []
    page = write_report(folder, FACTS, [result], progress=lambda: told.append(1))
    return folder, page.read_text(), result, answers, split, len(told)
