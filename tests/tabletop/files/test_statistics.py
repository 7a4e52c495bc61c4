import json

import pytest

from tabletop.files.statistics import edit_distance


@pytest.mark.slow(2)
def test_the_world_file_tells_counts_and_the_floor(tiny_world):
    statistics = json.loads((tiny_world / "world.json").read_text())["statistics"]
    assert statistics["splits"]["train"]["actions"] == 3
    assert statistics["entropy_bits_per_action"] > 0


@pytest.mark.parametrize(
    ("p", "q", "distance"), [("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
)
def test_edit_distance_is_plain_levenshtein(p, q, distance):
    assert edit_distance(p, q) == edit_distance(q, p) == distance
