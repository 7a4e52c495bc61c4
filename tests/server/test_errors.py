import errno
import inspect
import os
from typing import get_args

import pytest

from extract import errors as extract_errors
from extract.errors import RejectCode
from model import errors as model_errors
from server import errors
from server import problem_types as kinds
from server.errors import REJECTED, TABLE, kind_of
from server.schemas.problems import problem_from
from weights import errors as weights_errors


def error_classes(module):
    found = [cls for _, cls in inspect.getmembers(module, inspect.isclass)]
    return [c for c in found if issubclass(c, Exception) and c.__module__ == module.__name__]


@pytest.mark.parametrize("module", [extract_errors, model_errors, weights_errors, errors])
def test_every_error_of_every_package_is_in_the_table(module):
    classes = error_classes(module)
    assert len(classes) > 2
    assert [cls.__name__ for cls in classes if cls not in TABLE] == []


def test_every_reason_to_reject_a_video_has_its_own_row():
    assert set(REJECTED) == set(get_args(RejectCode))


def test_a_subclass_gets_its_parents_row():
    class Fresh(errors.BodyTooLarge):
        pass

    assert kind_of(Fresh()) is kinds.TOO_LARGE


@pytest.mark.parametrize("number", sorted(errors.EXHAUSTED), ids=errno.errorcode.get)
def test_a_machine_that_has_run_out_is_no_bug_and_passes(number):
    problem = problem_from(OSError(number, os.strerror(number), "/secret/path"))
    assert (problem.kind, problem.kind.status) == (kinds.NO_STORAGE, 503)
    assert problem.kind.is_retryable
    assert problem.retry_after_s >= 1
    assert "secret" not in problem.detail
    assert kind_of(OSError(errno.ENOENT, "no such file")) is kinds.INTERNAL
