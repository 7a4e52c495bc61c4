"""Every noun, drawn alone: inside its own space, and different in every state it can be in."""

import numpy as np
import pytest

from tabletop.drawing.appearance import draw_looks
from tabletop.drawing.canvas import Canvas, ShapeBuilder
from tabletop.drawing.objects import DRAW, DRAW_LOOSE
from tabletop.story.rules import FLAGS, NOUNS

PIXELS = 200  # of one unit of length
MIDDLE = PIXELS // 2
LOOKS = draw_looks("train", np.random.default_rng(0)).things


def picture(noun, flags):
    pencil = ShapeBuilder()
    DRAW[noun](pencil, LOOKS[noun], flags)
    if noun in DRAW_LOOSE:
        DRAW_LOOSE[noun](pencil, LOOKS[noun], flags)
    image = np.zeros((PIXELS, PIXELS, 3), np.uint8)
    place = np.array([[PIXELS, 0.0, MIDDLE], [0.0, PIXELS, MIDDLE]])
    Canvas(image, place).print(pencil.build(), 0.0, 0.0)
    return image


@pytest.mark.parametrize("noun", NOUNS)
def test_a_thing_fills_a_good_part_of_its_place_and_stays_inside(noun):
    drawn = picture(noun, dict.fromkeys(FLAGS.get(noun, ()), 0.0)).any(axis=2)
    assert 0.004 < drawn.mean() < 0.2
    rows, columns = np.nonzero(drawn)
    assert abs(rows - MIDDLE).max() <= 0.25 * PIXELS
    assert abs(columns - MIDDLE).max() <= 0.25 * PIXELS


@pytest.mark.parametrize(("noun", "flag"), [(n, flag) for n in FLAGS for flag in FLAGS[n]])
def test_a_change_of_state_can_be_seen_coming(noun, flag):
    before = dict.fromkeys(FLAGS[noun], 0.0)
    begun, half, done = (picture(noun, before | {flag: value}) for value in (0.0, 0.6, 1.0))
    for one, other in ((begun, half), (begun, done)):
        assert (np.abs(one.astype(int) - other).max(axis=2) > 30).sum() >= 12
