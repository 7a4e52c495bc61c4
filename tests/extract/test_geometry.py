import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.contract import OMNIVORE, TABLETOP
from extract.geometry import crop_offset, resized_size


@pytest.mark.parametrize(
    ("width", "height", "resized", "offset"),
    [
        (1920, 1080, (455, 256), (116, 16)),
        (1280, 720, (455, 256), (116, 16)),
        (1440, 1080, (341, 256), (58, 16)),
        (640, 480, (341, 256), (58, 16)),
        (1920, 1440, (341, 256), (58, 16)),
        (1404, 1080, (332, 256), (54, 16)),
        (1080, 1920, (256, 455), (16, 116)),
    ],
)
def test_float_resize_has_the_sizes_and_crops_of_the_published_features(
    width, height, resized, offset
):
    assert resized_size(width, height, OMNIVORE) == resized
    assert crop_offset(*resized, OMNIVORE) == offset


@pytest.mark.parametrize(
    ("width", "height", "resized"),
    [
        (960, 540, (170, 96)),
        (640, 480, (128, 96)),
        (540, 960, (128, 228)),
        (500, 500, (128, 128)),
        (1, 1, (128, 128)),
    ],
)
def test_decoder_resize_is_the_smallest_that_covers_the_crop(width, height, resized):
    assert resized_size(width, height, TABLETOP) == resized


@given(width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_the_crop_always_fits_and_is_centred(width, height):
    new_width, new_height = resized_size(width, height, TABLETOP)
    assert new_width % 2 == new_height % 2 == 0
    x, y = crop_offset(new_width, new_height, TABLETOP)
    assert abs(x - (new_width - TABLETOP.crop_width - x)) <= 1
    assert abs(y - (new_height - TABLETOP.crop_height - y)) <= 1


def test_a_crop_larger_than_the_frame_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        crop_offset(100, 96, TABLETOP)
