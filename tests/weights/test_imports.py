"""Imports of large libraries without the parts that nothing here calls."""

import gc
import sys
from importlib import import_module

import pytest

from weights.imports import deferred, without_garbage_collection


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that costs: its import writes a file."""
    (tmp_path / "costly_one.py").write_text(
        f"open({str(tmp_path / 'imported')!r}, 'w').close()\ndef double(x): return 2 * x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "imported"
    sys.modules.pop("costly_one", None)


def test_a_deferred_module_is_imported_when_its_function_is_called(module):
    with deferred("costly_one"):
        from costly_one import double
    assert "costly_one" not in sys.modules
    assert not module.exists()
    assert double(4) == 8
    assert module.exists()
    assert sys.modules["costly_one"].double(1) == 2


def test_what_is_imported_already_stays(module):
    there = import_module("costly_one")
    with deferred("costly_one"):
        from costly_one import double
    assert sys.modules["costly_one"] is there
    assert double is there.double


def test_an_error_within_leaves_no_stand_in():
    with pytest.raises(ZeroDivisionError), deferred("costly_two"):
        raise ZeroDivisionError
    assert "costly_two" not in sys.modules


def test_the_collector_is_on_again_after_a_pause():
    assert gc.isenabled()
    with without_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
