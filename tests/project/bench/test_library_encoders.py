"""The catalogue of encoders says what the libraries make of the published shapes."""

import argparse

import pytest
import torch

from bench.features import library_encoders
from bench.features.library_encoders import config_of, made_up
from tests.project.docs.pages import ROOT
from weights.published.encoders import ENCODERS

pytestmark = pytest.mark.slow(15)


@pytest.mark.parametrize("name", ENCODERS)
def test_parameters_and_width_are_those_of_the_network(name):
    known = ENCODERS[name]
    with torch.device("meta"), torch.inference_mode():
        trunk = config_of(name).build()
        window = torch.empty(1, 3, known.frames, known.pixels, known.pixels)
        features = trunk(window)
    assert features.shape == (1, known.width)
    parameters = sum(tensor.numel() for tensor in trunk.parameters())
    assert round(parameters / 1e6) == known.parameters


def test_the_page_has_the_rows_of_the_catalogue():
    page = (ROOT / "docs" / "encoders.md").read_text()
    for known in ENCODERS.values():
        licence = known.licence.replace("mit", "MIT").replace("apache", "Apache")
        row = (
            f"| `{known.name}` | `{known.repository}` | {licence} | {known.parameters} M | "
            f"{known.width} | {known.pixels} | "
        )
        assert row in page


def test_preprocessing_and_network_are_timed():
    figures = library_encoders.run(argparse.Namespace(names=["pe-core-t"], threads=1, rounds=1))
    row = figures["rows"]["pe-core-t"]
    assert (row["width"], row["frames"]) == (192, 4)
    assert min(row["prepare_ms_a_frame"], row["cpu_s_a_window"]) > 0
    assert "pe-core-t" in library_encoders.table(figures)
    with pytest.raises(ValueError, match="unknown encoder 'clip'; known: vjepa2-l"):
        made_up("clip")
