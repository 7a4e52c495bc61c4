import pytest
import torch

from extract.features.track import EncoderId, FeatureTrack
from server.live.track import LiveTrack
from tests.server.support.fakes import CONTRACT, FakeEncoder


def live(rows, skipped=()):
    track = LiveTrack(FakeEncoder())
    for n in range(rows):
        if n in skipped:
            track.skip()
        else:
            track.append(torch.full((4,), float(n)))
    return track


@pytest.mark.parametrize("num_frames", [7, 32, 33, 48, 100, 3200])
@pytest.mark.parametrize("ticks_per_s", [30.0, 29.97])
def test_it_is_the_track_of_a_file_of_these_windows(num_frames, ticks_per_s):
    rows = 1 + -(-max(0, num_frames - 32) // 16)
    features = torch.arange(rows, dtype=torch.float32).unsqueeze(1).repeat(1, 4)
    encoder = EncoderId("fake", "f" * 64)
    expected = FeatureTrack.of_windows(
        features, num_frames, CONTRACT, encoder, "live", origin_s=5.0, ticks_per_s=ticks_per_s
    )
    found = live(rows).at(num_frames, origin_s=5.0, ticks_per_s=ticks_per_s)
    for name in vars(expected):
        left, right = getattr(found, name), getattr(expected, name)
        assert torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right, name


def test_a_track_given_before_does_not_change_as_it_grows():
    track = live(3)
    before = track.at(64, origin_s=0.0, ticks_per_s=30.0)
    for _ in range(200):
        track.append(torch.full((4,), 9.0))
    assert before.features[:, 0].tolist() == [0, 1, 2]
    assert len(track) == 203


def test_a_window_that_was_left_out_repeats_the_one_before_and_is_not_seen():
    track = live(8, skipped=(3, 4, 5))
    found = track.at(144, origin_s=0.0, ticks_per_s=30.0)
    assert found.features[:, 0].tolist() == [0, 1, 2, 2, 2, 2, 6, 7]
    assert track.skipped == 3
    stride_s = 16 / 30
    assert track.is_seen(found, (0.0, 3 * stride_s))
    assert not track.is_seen(found, (3 * stride_s, 6 * stride_s))
    assert track.is_seen(found, (0.0, 6 * stride_s))  # three of six
    assert not track.is_seen(found, (stride_s * 1.5, 6 * stride_s))
    assert track.is_seen(found, (6 * stride_s, 9 * stride_s))
