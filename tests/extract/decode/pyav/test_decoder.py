import av
import pytest

from extract.contract import TABLETOP
from extract.decode.pyav.reader import PyavReader
from extract.errors import VideoRejected
from tests.extract.support.clips import read_number, write_numbered
from tests.extract.support.decoded import decode


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ([], list(range(0, 240, 2))),
        ([40], [*range(0, 40, 2), 38, *range(42, 240, 2)]),
        ([40, 42], [*range(0, 40, 2), 38, 38, *range(44, 240, 2)]),
        ([0, 2], [4, 4, *range(4, 240, 2)]),
        ([236, 238], [*range(0, 236, 2), 234, 234]),
        ([41], list(range(0, 240, 2))),
    ],
)
def test_where_a_frame_was_lost_the_one_before_it_stands(tmp_path, monkeypatch, lost, expected):
    path = write_numbered(tmp_path / "a.mp4", 240)
    read = PyavReader.frames

    def lossy(self, repeats):
        for index, picture in read(self, repeats):
            if index in lost:
                self.num_decoded -= 1
            else:
                yield index, picture

    monkeypatch.setattr(PyavReader, "frames", lossy)
    facts, frames = decode(path, TABLETOP, "pyav")
    assert [read_number(frame) for frame in frames] == expected
    assert facts.source_frames.tolist() == list(range(240))
    is_damaged = lost not in ([], [41])
    assert [notice.code for notice in facts.notices] == ["damaged"] * is_damaged
    assert facts.info.frames_decoded == 120 - len(lost) * is_damaged


def spoilt(path, numbers):
    """Overwrites pictures, in the order stored, behind what says how long they are."""
    with av.open(str(path)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        begin, size = packets[number].pos + 5, packets[number].size - 5
        data[begin : begin + size] = bytes(size)
    path.write_bytes(data)


def test_time_stays_true_behind_spoilt_pictures(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 240, options={"g": "10", "bf": "0"})
    spoilt(path, [33, 34])
    facts, frames = decode(path, TABLETOP, "pyav")
    assert [notice.code for notice in facts.notices] == ["damaged"]
    found = [read_number(frame) for frame in frames]
    assert len(found) == 120
    assert found[20:] == list(range(40, 240, 2))


def test_a_clip_of_which_too_much_is_spoilt_is_refused(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 240, options={"g": "10", "bf": "0"})
    spoilt(path, range(60, 120))
    with pytest.raises(VideoRejected, match="damaged"):
        decode(path, TABLETOP, "pyav")
