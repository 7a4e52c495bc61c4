import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from extract.contract import OMNIVORE, TABLETOP
from extract.decode.clip import Limits
from extract.errors import DecoderDied, DecoderUnavailable, DecodeTimeout, VideoRejected
from extract.sandbox.cpu_time import CpuTime
from extract.sandbox.pool import DecodePool
from tests.extract.support.clips import write_clip
from tests.extract.support.decoders import wait_until_asked
from tests.support.waiting import PATIENCE_S, wait_for


def test_secrets_of_the_environment_stay_outside(clips, monkeypatch):
    monkeypatch.setenv("EGOPACK_API_KEY", "secret")
    with DecodePool(workers=1, limits=Limits()) as pool:
        pool.decode(clips / "plain.mp4", TABLETOP)
        with open(f"/proc/{pool.pids[0]}/environ") as variables:
            assert "EGOPACK_API_KEY" not in variables.read()


def test_a_process_killed_while_decoding_is_reported_and_replaced(pool, clips):
    pool.decode(clips / "plain.mp4", TABLETOP)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(pool.decode, clips / "plain.mp4", TABLETOP)
        wait_until_asked(pid)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(DecoderDied):
            answer.result(timeout=PATIENCE_S)
    assert pid not in pool.pids
    assert pool.decode(clips / "plain.mp4", TABLETOP).num_frames == 100


def test_a_process_that_hangs_is_killed_in_time_and_replaced(pool, clips):
    pool.decode(clips / "plain.mp4", TABLETOP)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(DecodeTimeout):
        pool.decode(clips / "plain.mp4", TABLETOP, timeout_s=0.3)
    assert pid not in pool.pids
    assert pool.decode(clips / "plain.mp4", TABLETOP).num_frames == 100


def test_the_wall_clock_limit_holds_without_a_timeout_of_the_caller(clips):
    with DecodePool(workers=1, limits=Limits(decode_wall_s=10.0)) as pool:
        pool.decode(clips / "plain.mp4", TABLETOP)
        pool.limits = Limits(decode_wall_s=0.2)
        os.kill(pool.pids[0], signal.SIGSTOP)
        with pytest.raises(DecodeTimeout):
            pool.decode(clips / "plain.mp4", TABLETOP, timeout_s=30.0)


@pytest.mark.parametrize("timeout_s", [0.2, 30.0], ids=["the caller's", "the wall clock's"])
def test_a_clip_that_had_the_cpu_until_the_wall_clock_ended_is_at_fault(
    pool, clips, monkeypatch, timeout_s
):
    pool.decode(clips / "plain.mp4", TABLETOP)
    pool.limits = Limits(decode_wall_s=0.3)
    os.kill(pool.pids[0], signal.SIGSTOP)
    monkeypatch.setattr(CpuTime, "is_used_up", lambda self, cpu_s: True)
    with pytest.raises((DecodeTimeout, VideoRejected)) as caught:
        pool.decode(clips / "plain.mp4", TABLETOP, timeout_s=timeout_s)
    assert getattr(caught.value, "code", None) == ("too-slow" if timeout_s > 1 else None)


def test_a_clip_that_uses_up_its_cpu_time_is_at_fault_at_once(pool, clips, monkeypatch):
    pool.decode(clips / "plain.mp4", TABLETOP)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(CpuTime, "used_s", lambda self: 1e9)
    with pytest.raises(VideoRejected) as caught:
        pool.decode(clips / "plain.mp4", TABLETOP)
    assert caught.value.code == "too-slow"
    assert pid not in pool.pids


def test_a_process_that_ends_at_its_limit_of_cpu_time_blames_the_clip(pool, clips):
    pool.decode(clips / "plain.mp4", TABLETOP)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(pool.decode, clips / "plain.mp4", TABLETOP)
        wait_until_asked(pid)
        os.kill(pid, signal.SIGXCPU)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(VideoRejected) as caught:
            answer.result(timeout=PATIENCE_S)
    assert caught.value.code == "too-slow"
    assert pool.decode(clips / "plain.mp4", TABLETOP).num_frames == 100


def test_a_process_that_cannot_start_is_reported_as_ours(clips):
    # Too little memory to import anything.
    with (
        DecodePool(workers=1, limits=Limits(memory_mb=24)) as pool,
        pytest.raises(DecoderUnavailable, match="did not start"),
    ):
        pool.decode(clips / "plain.mp4", TABLETOP)


def test_too_little_memory_for_a_clip_is_the_clips_fault(tmp_path):
    path = write_clip(
        tmp_path / "large.mp4",
        [np.zeros((2160, 3840, 3), np.uint8)] * 8,
        options={"preset": "ultrafast"},
    )
    with DecodePool(workers=1, limits=Limits(memory_mb=270)) as pool:
        with pytest.raises((VideoRejected, DecoderDied)):
            pool.decode(path, OMNIVORE)
        wait_for(lambda: len(pool.pids) == 1)
