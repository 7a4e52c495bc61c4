"""Colours that do not vary, and shades of those that do."""

import math

import numpy as np

from model.data.tabletop.looks import Color, mix

INK: Color = (28, 24, 26)
WHITE: Color = (246, 244, 238)
GLASS: Color = (205, 220, 222)
STAIN: Color = (92, 48, 22)
DRINK: Color = (112, 62, 26)
FLESH: Color = (238, 226, 176)
YOLK: Color = (250, 186, 30)
STEEL: Color = (186, 190, 196)
HALF_TURN = np.linspace(0.0, math.pi, 12)  # angles


def dark(color: Color, amount: float = 0.3) -> Color:
    """Returns the colour in shadow."""
    return mix(color, INK, amount)


def pale(color: Color, amount: float = 0.35) -> Color:
    """Returns the colour in light."""
    return mix(color, WHITE, amount)
