"""Bytes of a pipe that may be read again."""

import os
import random

import pytest

from extract.decode.live import sources
from extract.decode.live.sources import Feed, RewindableFeed

DATA = random.Random(0).randbytes(50_000)


class Pieces(Feed):
    """A pipe whose reads give pieces of random size."""

    def __init__(self, seed):
        super().__init__(-1)
        self._rng, self._place = random.Random(seed), 0

    def read(self, count):
        count = self._rng.randint(1, count)
        data = DATA[self._place : self._place + count]
        self._place += len(data)
        return data


@pytest.mark.parametrize("seed", range(5))
def test_it_is_a_file_as_far_as_it_keeps_bytes(seed, monkeypatch):
    monkeypatch.setattr(sources, "KEPT_BYTES", 4000)
    feed, rng, place = RewindableFeed(Pieces(seed)), random.Random(seed), 0
    while place < len(DATA):
        data = feed.read(rng.randint(1, 3000))
        assert data == DATA[place : place + len(data)]
        place += len(data)
        back = rng.randint(0, min(len(data), 3000))
        assert feed.seek(-back, os.SEEK_CUR) == place - back == feed.tell()
        ahead = min(len(DATA), place + rng.randint(0, 500))  # or as far as it goes
        assert feed.seek(ahead) == ahead
        place = ahead
    assert feed.read(10) == b""
    assert feed.seek(0) == feed.seek(0, os.SEEK_END) == feed.seek(len(DATA) + 1) == -1
    assert feed.tell() == len(DATA)


def test_looking_at_the_first_bytes_does_not_take_them():
    read, write = os.pipe()
    os.write(write, DATA[:300])
    os.close(write)
    feed = Feed(read)
    assert feed.peek(200) == DATA[:200]
    assert feed.read(100) + feed.whole(500) == DATA[:300]
    assert feed.read(1) == feed.whole(1) == b""
    os.close(read)
