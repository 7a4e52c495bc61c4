import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from extract.contract import OMNIVORE, TABLETOP
from extract.decode.clip import Limits
from extract.decode.video import decode_clip
from extract.errors import DecoderUnavailable, DecodeTimeout, VideoRejected
from extract.sandbox.pool import DecodePool
from tests.extract.sandbox.processes import status_of
from tests.extract.support.decoders import wait_until_asked
from tests.support.waiting import PATIENCE_S, wait_for


@pytest.mark.slow
def test_a_clip_comes_back_as_if_decoded_here(pool, clips):
    for name in ("plain.mp4", "trimmed.mp4"):
        for contract in (TABLETOP, OMNIVORE):
            found = pool.decode(clips / name, contract)
            expected = decode_clip(clips / name, contract, Limits())
            assert np.array_equal(found.frames, expected.frames)
            assert np.array_equal(found.source_frames, expected.source_frames)
            assert np.array_equal(found.source_times_s, expected.source_times_s)
            assert found.info == expected.info
            assert found.notices == expected.notices
    assert len(pool.pids) == 1


def test_a_rejection_comes_back_and_costs_no_process(pool, clips, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"#EXTM3U\n")
    pool.decode(clips / "plain.mp4", TABLETOP)
    before = pool.pids
    with pytest.raises(VideoRejected) as caught:
        pool.decode(tmp_path / "a.mp4", TABLETOP)
    assert caught.value.code == "not-a-video"
    assert pool.pids == before


def test_a_process_that_died_while_idle_is_no_fault_of_the_next_clip(pool, clips):
    pool.decode(clips / "plain.mp4", TABLETOP)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: status_of(pid, "State") == "Z")
    assert pool.decode(clips / "plain.mp4", TABLETOP).num_frames == 100


def test_a_short_timeout_does_not_undo_a_process_that_is_starting(clips):
    with DecodePool(workers=1, limits=Limits()) as pool:
        before = pool.pids
        with pytest.raises(DecoderUnavailable, match="starting"):
            pool.decode(clips / "plain.mp4", TABLETOP, timeout_s=0.0)
        assert pool.decode(clips / "plain.mp4", TABLETOP).num_frames == 100
        assert pool.pids == before


@pytest.mark.slow
def test_a_call_that_finds_all_processes_busy_gives_up_in_time(pool, clips):
    pool.decode(clips / "plain.mp4", TABLETOP)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(pool.decode, clips / "plain.mp4", TABLETOP, timeout_s=1.5)
        wait_until_asked(pid)
        with pytest.raises(DecoderUnavailable, match="busy"):
            pool.decode(clips / "plain.mp4", TABLETOP, timeout_s=0.2)
        with pytest.raises(DecodeTimeout):
            first.result(timeout=PATIENCE_S)


def test_a_process_is_replaced_after_its_share_of_clips(clips):
    with DecodePool(workers=1, limits=Limits(), clips_per_worker=2) as pool:
        seen = []
        for _ in range(5):
            pool.decode(clips / "plain.mp4", TABLETOP)
            seen.append(tuple(pool.pids))
        assert len(set(seen)) == 3


def test_many_threads_share_the_processes(clips):
    names = ["plain.mp4", "trimmed.mp4", "all-in-order.mp4"] * 6
    expected = {"plain.mp4": 100, "trimmed.mp4": 70, "all-in-order.mp4": 100}
    with DecodePool(workers=2, limits=Limits()) as pool, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: pool.decode(clips / n, TABLETOP), names))
        assert len(pool.pids) == 2
    assert [clip.num_frames for clip in found] == [expected[name] for name in names]


def test_closing_ends_processes_and_waiting_calls(clips):
    pool = DecodePool(workers=1, limits=Limits())
    pool.start()
    pool.decode(clips / "plain.mp4", TABLETOP)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(pool.decode, clips / "plain.mp4", TABLETOP) for _ in range(2)]
        wait_until_asked(pid)
        pool.close()
        for answer in answers:
            with pytest.raises(DecoderUnavailable, match="closed"):
                answer.result(timeout=PATIENCE_S)
    assert pool.pids == []
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(DecoderUnavailable):
        pool.decode(clips / "plain.mp4", TABLETOP)
    pool.close()


@pytest.mark.slow
def test_nothing_is_left_open_after_many_crashes(clips):
    def open_files():
        return len(os.listdir("/proc/self/fd"))

    before = open_files(), threading.active_count()
    with DecodePool(workers=1, limits=Limits()) as pool:
        for _ in range(5):
            pool.decode(clips / "plain.mp4", TABLETOP)
            os.kill(pool.pids[0], signal.SIGSTOP)
            with pytest.raises(DecodeTimeout):
                pool.decode(clips / "plain.mp4", TABLETOP, timeout_s=0.05)
    assert (open_files(), threading.active_count()) == before


def test_a_missing_file_is_the_callers_mistake(pool, tmp_path):
    with pytest.raises(FileNotFoundError):
        pool.decode(tmp_path / "no.mp4", TABLETOP)


@pytest.mark.parametrize(("workers", "clips_per_worker"), [(0, 1), (1, 0)])
def test_pools_of_nothing_are_refused(workers, clips_per_worker):
    with pytest.raises(ValueError, match="at least one"):
        DecodePool(workers=workers, limits=Limits(), clips_per_worker=clips_per_worker)


def test_a_pool_that_cannot_start_all_its_processes_keeps_none(monkeypatch):
    started = []

    def start_one(*arguments, **options):
        if started:
            raise OSError("no more processes")
        started.append(real(*arguments, **options))
        return started[0]

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start_one)
    pool = DecodePool(workers=2, limits=Limits())
    with pytest.raises(DecoderUnavailable, match="cannot start"):
        pool.start()
    assert started[0].poll() is not None
    assert pool.pids == []
