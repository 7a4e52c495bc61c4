from tabletop.drawing.appearance import draw_looks
from tabletop.story.script import WorldConfig, rng_of

CONFIG = WorldConfig()


def test_looks_of_different_splits_are_disjoint():
    drawn = {
        split: [draw_looks(split, rng_of(CONFIG, split, i, 3)) for i in range(6)]
        for split in ("train", "val", "test")
    }
    sizes = {
        split: [
            (look.size - 0.88) / 0.24 * 8 % 1.0 for looks in mine for look in looks.things.values()
        ]
        for split, mine in drawn.items()
    }
    assert max(sizes["train"]) < min(sizes["val"]) < max(sizes["val"]) < min(sizes["test"])
