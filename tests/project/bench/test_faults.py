"""The fault matrix: rows that are kept, faults that cannot be caused, and ends that are counted."""

import argparse
import errno
import time
from contextlib import contextmanager

import httpx
import pytest

from bench.faults import command, subject
from bench.faults.kinds import FAULTS, CannotCause, Fault
from bench.faults.stepped import step_by


class FakeSubject:
    """A server that answers everything, and ends every job but `lost` once."""

    started = 0

    def __init__(self, folder, bundle, postgres):
        self.process, self.clip = None, folder / "clip.mp4"
        self.http = httpx.Client(
            base_url="http://test", transport=httpx.MockTransport(lambda _: httpx.Response(200))
        )

    def start(self):
        FakeSubject.started += 1

    def close(self):
        self.http.close()

    def callers(self, clip):
        return {"prediction": "200"}, ["later"]

    def check_ends(self, ids):
        return f"{sum(one != 'lost' for one in ids)} of {len(ids)}"


@contextmanager
def ends(one):
    yield ["first"]


@contextmanager
def loses(one):
    yield ["lost"]


@contextmanager
def cannot(one):
    raise CannotCause("no disk can be mounted")
    yield


@pytest.fixture
def faults(monkeypatch):
    found = (Fault("good", ends), Fault("bad", loses), Fault("none", cannot))
    monkeypatch.setattr(command, "FAULTS", found)
    monkeypatch.setattr(command, "Subject", FakeSubject)
    monkeypatch.setattr(command.time, "sleep", lambda _: None)


@pytest.mark.usefixtures("faults")
def test_a_row_says_what_was_seen_and_is_kept_for_the_next_run(tmp_path):
    options = argparse.Namespace(work=tmp_path, only=["good", "none"])
    figures = command.run(options)
    assert figures["passed"]
    text = command.table(figures)
    assert "| good |  | 200 |  |  | by itself | 2 of 2 |" in text
    assert "| none |  |  |  |  | not run: no disk can be mounted |  |" in text
    before = FakeSubject.started
    assert command.run(options) == figures
    assert FakeSubject.started == before
    options.only = None
    assert not command.run(options)["passed"]  # of `bad`, one job was lost
    assert FakeSubject.started > before


def test_every_fault_has_a_name_of_its_own():
    names = [command._slug(fault.name) for fault in FAULTS]
    assert len(set(names)) == len(names)


def test_a_server_of_the_matrix_has_the_clock_that_a_file_says(tmp_path, monkeypatch):
    clock, right = tmp_path / "clock", time.time
    monkeypatch.setattr(time, "time", right)  # put back afterwards
    clock.write_text("3600")
    step_by(clock)
    assert 3590 < time.time() - right() < 3700
    clock.write_text("0")
    assert abs(time.time() - right()) < 60


def test_a_filled_disk_has_no_byte_left_and_gets_all_back(tmp_path, monkeypatch):
    written = []

    class Disk:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, data):
            if len(written) == 3:
                raise OSError(errno.ENOSPC, "full")
            written.append(data)

    monkeypatch.setattr(type(tmp_path), "open", lambda *_, **__: Disk())
    ballast = tmp_path / "ballast"
    ballast.touch()
    with subject.filled(tmp_path):
        assert len(written) == 3
    assert not ballast.exists()
