"""Figures: nothing that is drawn lies outside its panel."""

import numpy as np

from model.evaluate.report.figures import gain_figure


def test_every_panel_of_gains_holds_the_whole_of_every_interval():
    panels = {
        name: {"auto": np.array([[1, gain, gain - 0.02, gain + 0.03], [5, 0.01, 0.0, 0.02]])}
        for name, gain in (("a", 0.02), ("b", 0.14), ("c", -0.09))
    }
    axes = [one for one in gain_figure(panels, x="labels").axes if one.axison]
    for one in axes:
        low, high = one.get_ylim()
        assert low <= -11
        assert high >= 17
