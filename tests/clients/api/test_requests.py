import subprocess
import sys
import textwrap
import time

import pytest

from clients.client import EgoPackClient
from clients.errors import NeedsJob, TimedOut
from tests.clients.support.awaited import Awaited
from tests.clients.support.stub import serving

MB = 2**20


@pytest.fixture
def large(tmp_path):
    """500 MB that take no room on disk."""
    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        file.truncate(500 * MB)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("made", ["EgoPackClient", "Awaited"])
def test_half_a_gigabyte_is_sent_without_being_held(large, made):
    sizes = []

    def answer(handler):
        sizes.append(handler.take())
        handler.reply(200, b"track")

    script = f"""
        import resource, sys
        from clients.client import EgoPackClient
        from tests.clients.support.awaited import Awaited
        with {made}(sys.argv[1]) as client:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert client.features(sys.argv[2]) == b"track"
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    with serving(answer) as url:
        command = [sys.executable, "-c", textwrap.dedent(script), url, str(large)]
        grown_kb = int(subprocess.check_output(command, text=True))
    assert sizes[0] > 500 * MB
    assert grown_kb < 16 * 1024


@pytest.mark.parametrize("made", [EgoPackClient, Awaited])
def test_progress_is_told_to_the_end_and_begins_anew_with_every_try(tmp_path, made):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(bytes(3 * MB))
    replies = [429, 200]

    def answer(handler):
        handler.take()
        handler.reply(replies.pop(0), b"track", Retry_After="0")

    told = []
    with serving(answer) as url, made(url) as client:
        client.features(clip, progress=lambda sent, size: told.append((sent, size)))
    assert {size for _, size in told} == {3 * MB}
    sent = [one for one, _ in told]
    assert sent.count(3 * MB) == 2
    half = sent.index(3 * MB) + 1
    assert sent[:half] == sorted(sent[:half]) == sent[half:]


@pytest.mark.slow
@pytest.mark.parametrize("made", [EgoPackClient, Awaited])
def test_a_refusal_is_heard_although_the_body_is_still_on_its_way(large, made):
    def answer(handler):
        handler.reply(413, b'{"code": "body-too-large", "detail": "no"}')
        handler.take()  # a server that hung up at once would take its answer back

    with serving(answer) as url, made(url) as client, pytest.raises(NeedsJob):
        client.predict(large)


@pytest.mark.parametrize("made", [EgoPackClient, Awaited])
def test_an_upload_ends_when_the_time_for_the_call_is_up(large, made):
    def answer(handler):
        while handler.rfile.read1(1 << 12):
            time.sleep(0.001)

    with (
        serving(answer) as url,
        made(url, total_s=0.2) as client,
        pytest.raises(TimedOut),
    ):
        client.features(large)


def test_a_caller_may_end_an_upload_from_its_progress(large):
    class Enough(Exception):
        pass

    def stop(sent, _):
        if sent > MB:
            raise Enough

    with (
        serving(lambda handler: handler.take()) as url,
        EgoPackClient(url) as client,
        pytest.raises(Enough),
    ):
        client.features(large, progress=stop)
