"""The eight orientations, against numpy's own turns and FFmpeg's filters written as formulas."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.decode.orientation import Orientation

ALL = [Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]
STORED = np.arange(3 * 5).reshape(3, 5)
FILTERS = {
    ("hflip", None): np.fliplr,
    ("vflip", None): np.flipud,
    ("transpose", "cclock_flip"): np.transpose,
    ("transpose", "clock"): lambda picture: np.rot90(picture, -1),
    ("transpose", "cclock"): lambda picture: np.rot90(picture, 1),
    ("transpose", "clock_flip"): lambda picture: np.flipud(np.rot90(picture, -1)),
}


@pytest.mark.parametrize("orientation", ALL)
def test_filters_do_what_is_done_to_the_pixels(orientation):
    picture = STORED
    for name, options in orientation.filters:
        picture = FILTERS[name, options.get("dir")](picture)
    np.testing.assert_array_equal(orientation.applied(STORED), picture)


@pytest.mark.parametrize("orientation", ALL)
def test_mirroring_and_then_the_rotation_is_the_whole_of_it(orientation):
    mirrored = np.fliplr(STORED) if orientation.is_mirrored else STORED
    expected = np.rot90(mirrored, orientation.rotation // 90)
    np.testing.assert_array_equal(orientation.applied(STORED), expected)
    height, width = STORED.shape
    assert orientation.size(width, height) == orientation.applied(STORED).shape[::-1]


@given(st.sampled_from(ALL), st.data())
def test_a_part_of_what_is_shown_is_found_where_it_is_stored(orientation, data):
    shown = orientation.applied(STORED)
    height, width = shown.shape
    left, right = sorted(data.draw(st.tuples(*[st.integers(0, width)] * 2)))
    top, bottom = sorted(data.draw(st.tuples(*[st.integers(0, height)] * 2)))
    a, b, c, d = orientation.stored((left, top, right, bottom), width, height)
    part = orientation.applied(STORED[b:d, a:c])
    np.testing.assert_array_equal(part, shown[top:bottom, left:right])


@given(st.sampled_from(ALL), st.integers(1, 2**20), st.floats(-0.015, 0.015))
def test_a_matrix_nearly_along_the_axes_is_read_by_its_signs(orientation, scale, slant):
    """(p, q) of the stored picture is shown at (a p + c q, b p + d q)."""
    across, down = (-1 if flip else 1 for flip in (orientation.flip_x, orientation.flip_y))
    little = int(slant * scale)
    if orientation.transposed:
        a, b, c, d = little, down * scale, across * scale, little
    else:
        a, b, c, d = across * scale, little, little, down * scale
    assert Orientation.of_matrix(struct.pack("<9i", a, b, 0, c, d, 0, 0, 0, 1)) == orientation


@pytest.mark.parametrize("entries", [(0, 0, 0, 0), (7, 7, -7, 7), (100, 3, -3, 100), (9, 0, 0, 0)])
def test_other_angles_and_matrices_that_show_nothing_are_none(entries):
    a, b, c, d = entries
    assert Orientation.of_matrix(struct.pack("<9i", a, b, 0, c, d, 0, 0, 0, 1)) is None
