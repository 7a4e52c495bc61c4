import asyncio

import av
import numpy as np
import pytest

from server.schemas.options import PredictOptions
from tests.server.engine.real_engine import long, started


def write_video(path, frames, fps=30, size=64):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.width = stream.height = size
        for index in range(frames):
            grey = np.full((size, size, 3), index % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_video_far_beyond_the_limit_of_requests_is_answered(tmp_path):
    async def main():
        video = write_video(tmp_path / "long.mp4", frames=30 * 80)
        async with started() as engine:
            outcome = await long(engine, PredictOptions(tasks=["ar"]), video)
        assert len(outcome.track.features) == 149
        assert len(outcome.prediction.segments) == 10
        assert outcome.prediction.lta is None

    asyncio.run(main())


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
