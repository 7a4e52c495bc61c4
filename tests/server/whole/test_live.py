"""Live streams of a server process with the shipped bundle: what the file gets, and its life."""

import io
import math
import os
import signal
import struct

import httpx
import numpy as np
import pytest
from PIL import Image

from clients.local import LocalServer, check_stopped
from tests.extract.support.clips import noisy_frames, write_clip
from tests.server.support.live_client import dialled
from tests.support.hostile import odd
from tests.support.hostile.boxes import index_in_front
from tests.support.hostile.specimen import Bait
from tests.support.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.slow(25), pytest.mark.service]

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
LIVE = {"g": "12", "bf": "0"}


@pytest.fixture(scope="module")
def server():
    flags = "--live-ahead-s", "1e6", "--live-windows-s", "1e6", "--max-caller-share", "1"
    with LocalServer(*flags) as running:
        yield running
    check_stopped(running)


def address(server):
    return server.url.removeprefix("http://")


def variable_times():
    return np.cumsum([0, *np.random.default_rng(0).integers(12, 70, 119)]).tolist()


def made(name, count, *, width=96, height=72, **options):
    return lambda folder: write_clip(
        folder / name, noisy_frames(count, width, height), **{"options": LIVE, **options}
    )


FILES = {
    "fragmented MP4": made("a.mp4", 170, container_options=FRAGMENTED),
    "variable rate": made("a.mkv", 120, times_ms=variable_times()),
}

SLOW = {"a key frame every 600", "a strip"}
ODD = {
    one.name: one
    for one in odd.SPECIMENS
    if one.status == 200 and one.sent_as == "clip.mp4" and one.name not in SLOW
}
"""Files that are unusual and right; those of an AVI cannot be read as they arrive."""

RATES = {"29.97 frames a second": 30000 / 1001}
"""Of sources so near the clock that a file's own rate is taken for it: a stream has to say so."""


def flat(value, path=""):
    """The leaves of a body by their paths."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, one in items for k, v in flat(one, f"{path}/{key}").items()}
    return {path: value}


def streamed(server, data, **options):
    """What a stream of a file's bytes ends with: its close code, and its last message."""
    with dialled(address(server)) as live:
        live.say(input="container", evidence=True, skip=False, **options)
        for first in range(0, len(data), 4000):
            live.send(data[first : first + 4000])
        live.say(type="end")
        live.read_all()
        return live.close, live.got[-1]


def posted(server, data, **options):
    return httpx.post(
        f"{server.url}/v1/predictions",
        content=data,
        params={**options, "return": "evidence"},
        headers={"content-type": "video/mp4"},
        timeout=PATIENCE_S,
    ).json()


def check_same(server, data, **more):
    options = {"segment_s": 2.0, "top_k": 3}
    close, last = streamed(server, data, **options, **more)
    assert (close, last["type"]) == (1000, "summary"), last
    assert last["skipped"] == 0
    found, wanted = (
        flat({k: body[k] for k in ("model", "features", "segments", "lta")})
        for body in (last["result"], posted(server, data, **options))
    )
    assert found.keys() == wanted.keys()
    for path, value in wanted.items():
        if path.endswith("/frame"):
            continue  # of a stream it is one of the clock's
        if isinstance(value, float):
            assert math.isclose(found[path], value, abs_tol=1e-5), path
        else:
            assert found[path] == value, path


@pytest.mark.parametrize("name", FILES)
def test_the_summary_is_the_prediction_for_the_file(server, tmp_path, name):
    check_same(server, FILES[name](tmp_path).read_bytes())


@pytest.mark.parametrize("name", ODD)
def test_so_it_is_for_files_that_are_unusual_and_right(server, tmp_path, name):
    data = index_in_front(ODD[name].make(Bait(tmp_path, "", 0, tmp_path)))
    if data[8:11] == b"AVI":
        close, last = streamed(server, data)
        assert (close, last["code"]) == (4400, "unsupported-container")
    else:
        check_same(server, data, **({"rate": RATES[name]} if name in RATES else {}))


def picture(number):
    frame = Image.fromarray(noisy_frames(1, 64, 48, seed=number)[0])
    target = io.BytesIO()
    frame.save(target, "JPEG")
    return struct.pack("<d", number / 30) + target.getvalue()


def children(pid):
    listed = f"/proc/{pid}/task/{pid}/children"
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(listed.replace(f"task/{pid}", f"task/{thread}")) as file:
            found += map(int, file.read().split())
    return set(found)


def test_a_killed_decoder_is_replaced_and_its_stream_goes_on(server):
    before = children(server.pid)
    with dialled(address(server)) as live:
        live.say(rate=30, skip=False)
        for n in range(40):
            live.send(picture(n))
        live.read("answer")
        (decoder,) = children(server.pid) - before
        os.kill(decoder, signal.SIGKILL)
        wait_for(lambda: decoder not in children(server.pid))
        for n in range(40, 120):
            live.send(picture(n))
        live.say(type="end")
        live.read_all()
        assert live.close == 1000
        assert live.of("summary")[0]["result"]["segments"][-1]["end_s"] == pytest.approx(4, abs=0.2)
    wait_for(lambda: children(server.pid) == before)
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'egopack_decoder_restarts_total{reason="crash"} 1.0' in metrics
    assert "egopack_live_sessions 0.0" in metrics


def has_ended(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_a_server_that_is_told_to_stop_tells_its_streams_and_ends(server):
    """The last one: its status is that of the fixture."""
    with dialled(address(server)) as live:
        live.say()
        live.read("ready")
        os.kill(server.pid, signal.SIGTERM)
        live.read_all()
        assert (live.close, live.got[-1]["code"]) == (1001, "draining")
    wait_for(lambda: has_ended(server.pid))  # a second signal would end it at once
