"""Long videos: the same numbers as short clips, in bounded memory, behind those who wait."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
import pytest

from extract.features.track import EncoderId
from model.nodes import cut_track
from model.predict.predictor import Predictor, PredictRequest
from server.engine import responses
from server.engine.engine import Engine
from server.engine.long_video import MAX_YIELD_S, chunks_of, join_chunks
from server.engine.request import no_progress
from server.errors import DeadlineExceeded, VideoTooLong
from server.schemas.options import PredictOptions
from tests.server.support.fakes import make_settings
from tests.support.factories import make_bundle, make_track, with_forecaster

SAMPLE = Path(__file__).parents[3] / "clients" / "sample" / "clip.mp4"
CLOSE = 1e-5


@asynccontextmanager
async def started(**values):
    engine = Engine.from_settings(make_settings(decode_workers=1, **values))
    await engine.start()
    assert engine.life.failure is None
    try:
        yield engine
    finally:
        await engine.stop()


async def long(engine, options=None, path=SAMPLE, timeout_s=100.0, on_progress=no_progress):
    options = options or PredictOptions()
    return await engine.long_video.predict(
        path, options, timeout_s=timeout_s, on_progress=on_progress
    )


def body_of(engine, outcome, options):
    """The answer but for what depends on the day."""
    whole = responses.prediction(outcome, options, answer_id="x", total_s=0.0)
    body = whole.model_dump(exclude={"timings"})
    del body["input"]["reader"]
    return body


def differences(one, other, where=""):
    """Yields how far apart numbers are; everything else has to be equal."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            yield from differences(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{where}/{index}")
    elif isinstance(one, float):
        yield abs(one - other)
    else:
        assert one == other, where


@pytest.mark.slow
@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"segment_s": 0.5},  # 25 segments: two chunks, and neighbours across the cut
        {"segments": [[0, 4], [3, 9], [9, 13]], "tasks": ["ar", "lta"]},
        {"segment_s": 0.5, "tasks": ["lta"]},
    ],
)
def test_a_job_answers_as_a_request_does(choices):
    async def main():
        options = PredictOptions.model_validate(choices)
        async with started() as engine:
            deadline_s = asyncio.get_running_loop().time() + 100
            sync = await engine.predict(SAMPLE, options, deadline_s=deadline_s)
            job = await long(engine, options)
            assert (job.clip.source_frames == sync.clip.source_frames).all()
            found = list(differences(body_of(engine, job, options), body_of(engine, sync, options)))
        assert len(found) > 20
        assert max(found) <= CLOSE

    asyncio.run(main())


def test_progress_counts_up_to_the_windows_of_the_whole_video():
    async def main():
        news = []
        async with started(job_batch_windows=5) as engine:
            await long(engine, on_progress=news.append)
        seen = [(p.windows_done, p.windows_total) for p in news if p.stage == "features"]
        assert seen == [(5, 24), (10, 24), (15, 24), (20, 24), (24, 24)]

    asyncio.run(main())


def write_video(path, frames, fps=30, size=64):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.width = stream.height = size
        for index in range(frames):
            grey = np.full((size, size, 3), index % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.slow
def test_a_video_far_beyond_the_limit_of_requests_is_answered(tmp_path):
    async def main():
        video = write_video(tmp_path / "long.mp4", frames=30 * 80)
        async with started() as engine:
            outcome = await long(engine, PredictOptions(tasks=["ar"]), video)
        assert len(outcome.track.features) == 149
        assert len(outcome.prediction.segments) == 10
        assert outcome.prediction.lta is None

    asyncio.run(main())


@pytest.mark.slow
def test_a_job_waits_while_clips_are_answered_and_gets_on_even_if_that_never_ends():
    async def timed(engine):
        events, started_s = [], time.perf_counter()
        await long(engine, on_progress=events.append)
        return events, time.perf_counter() - started_s

    async def main():
        async with started() as engine:
            alone, _ = await timed(engine)
            with engine.admission.work():
                beside, took_s = await timed(engine)
        assert beside == alone
        batches = sum(progress.stage == "features" for progress in beside)
        assert batches >= 2
        assert took_s >= batches * MAX_YIELD_S

    asyncio.run(main())


@pytest.mark.slow
def test_limits_of_jobs_are_kept(tmp_path):
    async def main():
        async with started(job_max_duration_s=5.0) as engine:
            with pytest.raises(VideoTooLong, match="5 s"):
                await long(engine)
        async with started() as engine:
            with pytest.raises(DeadlineExceeded):
                await long(engine, timeout_s=0.2)
            assert (await long(engine)).prediction.segments  # the next one is answered

    asyncio.run(main())


@pytest.mark.slow
def test_a_cancelled_job_leaves_no_process(tmp_path):
    video = write_video(tmp_path / "long.mp4", frames=30 * 240)

    async def main():
        async with started() as engine:
            task = asyncio.create_task(long(engine, PredictOptions(tasks=["ar"]), video))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await long(engine)).prediction.segments

    asyncio.run(main())


@pytest.mark.parametrize("segment_s", [8.0, 1.5])
@pytest.mark.slow(2)
def test_a_forecaster_sees_the_same_past_in_chunks_as_in_one_piece(segment_s, monkeypatch):
    monkeypatch.setattr("model.predict.predictor.LOOK_BACK", 40)
    predictor = Predictor(with_forecaster(make_bundle()), search="torch")
    made_by = EncoderId("tiny", predictor.encoder.fingerprint)
    track = make_track(5000, encoder=made_by, width=predictor.encoder.dim)
    request = PredictRequest(track, frozenset({"ar", "lta", "pnr"}), segment_s=segment_s)
    cut = cut_track(track, None, segment_s)
    chunks = chunks_of(request, cut, predictor)
    joined = join_chunks(chunks, [predictor.predict([c.request])[0] for c in chunks])
    whole = predictor.predict([request])[0]
    assert len(joined.segments) == len(whole.segments) == len(cut)
    assert joined.lta.observed == whole.lta.observed == [len(cut) - 2, len(cut) - 1]
    assert joined.lta.hypotheses == whole.lta.hypotheses
    assert max(differences(asdict(joined), asdict(whole))) < CLOSE
