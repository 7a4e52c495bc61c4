import numpy as np
import pytest

from tabletop.story.rules import CHANGES, INVERSE
from tabletop.story.script import WorldConfig, write_plot


@pytest.mark.parametrize(("verb", "partner"), sorted(set(INVERSE.items()) - {("put", "take")}))
def test_inverse_verbs_strictly_alternate_on_each_noun(default_scripts, verb, partner):
    for script in default_scripts:
        for noun, flags in script.initial.flags.items():
            done = [a.verb for a in script.actions if a.noun == noun and a.verb in (verb, partner)]
            if not done:
                continue
            flag, before, _ = CHANGES[done[0]]
            assert flags[flag] == before
            assert all(a != b for a, b in zip(done, done[1:], strict=False))


def test_take_and_put_strictly_alternate_on_each_noun(default_scripts):
    for script in default_scripts:
        for noun in script.nouns:
            done = [a.verb for a in script.actions if a.noun == noun and a.verb in ("take", "put")]
            assert all(a != b for a, b in zip(done, done[1:], strict=False))
            if done:
                assert (done[0] == "put") == (noun in script.initial.near)


def test_a_story_retold_keeps_what_is_known_and_varies_the_rest():
    plot = write_plot(WorldConfig(), "test", 0)
    rng = np.random.default_rng(0)
    futures = {plot.retold(10, rng) for _ in range(8)}
    assert all(future[:10] == plot.steps[:10] for future in futures)
    assert all(len(future) == len(plot.steps) for future in futures)
    assert len(futures) > 1
    assert 0.5 < plot.bits_per_action < 4.0
