import numpy as np
import pytest
from PIL import Image as Pillow

from tabletop.drawing.canvas import (
    Canvas,
    ShapeBuilder,
    blend,
    padded,
    save_picture,
    smear,
    to_yuv,
    warp,
)

UNIT = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def noise(height=40, width=60):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("angle", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(("sx", "sy"), [(1.0, 1.0), (2.0, 0.5)])
def test_a_printed_box_has_its_area_wherever_it_is_turned(angle, sx, sy):
    pencil = ShapeBuilder()
    pencil.box(-40, -30, 40, 30, (255, 255, 255))
    image = np.zeros((200, 200, 3), np.uint8)
    Canvas(image, UNIT).print(pencil.build(), 100.0, 90.0, angle, sx, sy)
    assert image[..., 0].sum() / 255 == pytest.approx(80 * 60 * sx * sy, rel=0.08)
    rows, columns = np.nonzero(image[..., 0])
    assert (columns.mean(), rows.mean()) == pytest.approx((100.0, 90.0), abs=1.0)


def test_ink_prints_one_value_with_hard_edges():
    pencil = ShapeBuilder()
    pencil.disc(0.0, 0.0, 20.0, 12.0, (255, 0, 0))
    pencil.line([(-25.0, 0.0), (25.0, 5.0)], 3.0, (0, 255, 0))
    image = np.zeros((60, 60), np.uint8)
    brush = Canvas(image, UNIT, ink=7)
    brush.print(pencil.build(), 30.0, 30.0, 0.3)
    brush.shade(30.0, 30.0, 5.0, 5.0, 0.2)
    assert set(np.unique(image)) == {0, 7}


def test_a_shift_by_whole_pixels_moves_them_and_repeats_the_edge():
    image = noise()
    moved = warp(padded(image), np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 2.0]]), 60, 40)
    np.testing.assert_array_equal(moved[2:, 3:], image[:-2, :-3])
    np.testing.assert_array_equal(moved[0], moved[2])


def test_a_smear_keeps_what_is_even_and_blurs_along_its_direction_only():
    stripes = np.zeros((40, 60, 3), np.uint8)
    stripes[::2] = 200
    np.testing.assert_array_equal(smear(stripes, 9.0, 0.0), stripes)
    assert np.ptp(smear(stripes, 0.0, 9.0)[10:-10]) < 40
    np.testing.assert_array_equal(blend(stripes, stripes), stripes)


def test_yuv_is_bt_601_in_limited_range():
    image = np.full((4, 4, 3), (200, 30, 90), np.uint8)
    weights = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0],
                        [112.0, -93.786, -18.214]])  # fmt: skip
    y, u, v = weights @ (np.array([200, 30, 90]) / 255) + (16, 128, 128)
    yuv = to_yuv(image).reshape(-1)
    assert yuv[:16] == pytest.approx(y, abs=1)
    assert yuv[16:20] == pytest.approx(u, abs=1)
    assert yuv[20:] == pytest.approx(v, abs=1)


def test_a_png_holds_the_picture_and_a_place_that_is_none_is_an_error(tmp_path):
    save_picture(noise(), tmp_path / "p.png")
    np.testing.assert_array_equal(np.asarray(Pillow.open(tmp_path / "p.png")), noise())
    with pytest.raises(OSError, match="cannot write"):
        save_picture(noise(), tmp_path / "none" / "p.png")
