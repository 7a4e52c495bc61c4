"""BT.601 whatever the stream says, as published features were made, or the stream's own matrix."""

from dataclasses import replace

import av
import numpy as np
import pytest

from extract.contract import OMNIVORE, SLOWFAST, TABLETOP
from extract.decode.clip import TRUSTED
from extract.decode.video import decode_clip

BT601 = (203, 92, 44)
BT709 = (214, 101, 40)


def write_flat(path, *, tag: str | None):
    """A second of one colour: what BT.709 writes for (214, 101, 40)."""
    planes = [np.full(shape, value, np.uint8) for shape, value in
              (((96, 128), 120), ((48, 64), 90), ((48, 64), 180))]  # fmt: skip
    with av.open(str(path), "w") as container:
        params = {} if tag is None else {"x264-params": f"colormatrix={tag}"}
        stream = container.add_stream("libx264", rate=30, options={"qp": "0", **params})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(33):
            stacked = np.concatenate([plane.reshape(-1, 128) for plane in planes])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stacked, format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def colour_of(path, contract):
    frame = decode_clip(path, contract, TRUSTED).frames[5]
    assert (frame == frame[0, 0]).all()
    return tuple(map(int, frame[0, 0]))


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    path = write_flat(tmp_path_factory.mktemp("colour") / "tagged.mp4", tag="bt709")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.colorspace == 1  # BT.709
    return path


@pytest.mark.parametrize("contract", [OMNIVORE, SLOWFAST], ids=["omnivore", "slowfast"])
def test_published_encoders_ignore_a_tag(tagged, contract):
    assert colour_of(tagged, contract) == pytest.approx(BT601, abs=2)


def test_the_tag_is_followed_where_the_contract_says_so(tagged):
    assert colour_of(tagged, replace(OMNIVORE, color="tagged")) == pytest.approx(BT709, abs=1)


def test_both_ways_of_resizing_agree_on_the_colour(tagged):
    assert colour_of(tagged, TABLETOP) == pytest.approx(BT709, abs=1)
    assert colour_of(tagged, replace(TABLETOP, color="bt601")) == pytest.approx(BT601, abs=2)


def test_streams_without_a_tag_are_read_the_same_way_under_both(tmp_path):
    path = write_flat(tmp_path / "untagged.mp4", tag=None)
    assert colour_of(path, OMNIVORE) == colour_of(path, replace(OMNIVORE, color="tagged"))
