import dataclasses

import numpy as np
import pytest
import torch

from extract.contract import TABLETOP
from model.train.encoder.views import ViewConfig, Views, place_targets

CONTRACT = dataclasses.replace(TABLETOP, short_side=24, crop_height=24, crop_width=32)
HAND, ACTED_ON, NOUNS = 4, 128, 3


def targets(maps, grid=(2, 2), least_share=0.25):
    maps = torch.tensor(maps, dtype=torch.uint8)
    visible, acted_on = place_targets(maps, NOUNS, grid=grid, least_share=least_share)
    return visible.int(), acted_on.int()


def test_a_place_shows_what_covers_enough_of_it():
    visible, acted_on = targets(
        [[1, 1, 0, 2], [0, 0, 0, 0], [0, 0, HAND, 0], [0, 0, 0, HAND]], least_share=0.5
    )
    assert visible.tolist() == [[[1, 0, 0, 0], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 1]]]
    assert acted_on.sum() == 0


def test_what_is_acted_on_is_visible_too():
    visible, acted_on = targets([[ACTED_ON + 2, 2, 0, 0], [0] * 4, [0] * 4, [0] * 4])
    assert visible[0, 0].tolist() == [0, 1, 0, 0]
    assert acted_on[0, 0].tolist() == [0, 1, 0]
    assert visible.sum() == acted_on.sum() == 1


def test_every_pixel_belongs_to_one_place():
    maps = torch.randint(0, 5, (2, 3, 12, 16), generator=torch.Generator().manual_seed(0))
    visible, _ = place_targets(maps.to(torch.uint8), NOUNS, grid=(3, 4), least_share=1e-6)
    for noun in range(NOUNS):
        there = (maps == noun + 1).unflatten(-2, (3, 4)).unflatten(-1, (4, 4)).any(-1).any(-2)
        assert torch.equal(visible[..., noun], there)


def video(num_frames=40):
    """Frames whose every 2 x 2 pixels carry the value of the map's pixel over them."""
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 255, (num_frames // 4, 12, 16)).astype(np.uint8)
    large = np.repeat(np.repeat(maps, 2, axis=1), 2, axis=2)
    return np.repeat(large, 4, axis=0)[..., None].repeat(3, axis=-1), maps


@pytest.mark.parametrize("seed", range(8))
def test_frames_and_maps_are_moved_zoomed_and_mirrored_alike(seed):
    frames, maps = video()
    views = Views(CONTRACT, 4, ViewConfig(map_size=(12, 16), shift=4, zoom=0.2))
    windows, shown = views.take(frames, maps, [0, 3], 2, torch.Generator().manual_seed(seed))
    assert windows.shape == (2, 8, 24, 32, 3)
    assert shown.shape == (2, 2, 12, 16)
    assert torch.equal(windows[:, ::4, 1::2, 1::2, 0], shown)


def test_a_window_that_begins_too_late_begins_earlier():
    frames, maps = video()
    views = Views(CONTRACT, 4, ViewConfig(map_size=(12, 16), shift=0, zoom=0.0))
    _, late = views.take(frames, maps, [99, -5], 2, torch.Generator().manual_seed(1))
    plain = torch.from_numpy(maps)
    mirrored = plain.flip(-1)
    for window, begin in zip(late, (8, 0), strict=True):
        expected = (plain[begin : begin + 2], mirrored[begin : begin + 2])
        assert any(torch.equal(window, candidate) for candidate in expected)


def test_each_sample_gets_colours_of_its_own_and_all_its_windows_the_same():
    views = Views(CONTRACT, 4, ViewConfig(map_size=(12, 16), swap=1.0))
    grey = torch.full((3, 2, 8, 24, 32, 3), 128, dtype=torch.uint8)
    x = views.recolour(grey, torch.Generator().manual_seed(0)).unflatten(0, (3, 2))
    assert torch.equal(x[:, 0], x[:, 1])
    assert len({tuple(v) for v in x[:, 0, :, 0, 0, 0].tolist()}) == 3
