"""What holds for the motion of every verb on every noun it is done to."""

import itertools

import numpy as np
import pytest

from tabletop.motion.motions import perform
from tabletop.motion.poses import REST, Cue
from tabletop.story.rules import ALLOWED, CHANGES, INVERSE, TOOLS

PAIRS = [(verb, noun) for verb, nouns in sorted(ALLOWED.items()) for noun in nouns]
BEGIN, FINISH, TARGET = (0.3, 0.05), (-0.2, 0.1), (0.0, -0.1)


def cue_of(verb, noun, hand=1, style=(0.2, 0.7, 0.4, 0.9)):
    target = {"pour": "cup", "crack": "bowl"}.get(verb)
    return Cue(verb, noun, target, BEGIN, FINISH, TARGET, hand, 3.0, 0.45, style)


@pytest.mark.parametrize(("verb", "noun"), PAIRS)
def test_nothing_jumps_and_the_state_changes_once_in_one_direction(verb, noun):
    instants = [perform(cue_of(verb, noun), s) for s in np.linspace(0.0, 1.0, 301)]
    for one, other in itertools.pairwise(instants):
        for before, after in zip(one.hands, other.hands, strict=True):
            assert np.hypot(*np.subtract(before, after)) < 0.1
        for name in one.things.keys() & other.things.keys():
            p, q = one.things[name], other.things[name]
            assert np.hypot(p.x - q.x, p.y - q.y) < 0.06
    changes = [instant.change for instant in instants]
    assert changes == sorted(changes)
    if verb in CHANGES:
        assert (changes[0], changes[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("hand", [0, 1])
@pytest.mark.parametrize("noun", ["cup", "book"])
def test_what_is_taken_or_moved_goes_from_its_place_to_the_other(noun, hand):
    for verb in ("take", "put", "move"):
        first, last = (perform(cue_of(verb, noun, hand), s) for s in (0.0, 1.0))
        assert (first.things[noun].x, first.things[noun].y) == pytest.approx(BEGIN)
        assert (last.things[noun].x, last.things[noun].y) == pytest.approx(FINISH)
        assert last.things[noun].lift == pytest.approx(0.0, abs=1e-9)
        assert first.hands[hand] == pytest.approx(REST[hand])
        assert last.hands[hand] == pytest.approx(REST[hand])


@pytest.mark.parametrize(
    ("verb", "noun"), [p for p in PAIRS if p[0] in INVERSE and p[1] not in TOOLS]
)
def test_an_inverse_verb_is_its_partner_run_backwards(verb, noun):
    cue = cue_of(verb, noun)
    assert cue.backwards().verb == INVERSE[verb]
    for s in (0.0, 0.2, 0.5, 0.9):
        there, back = perform(cue, s), perform(cue.backwards(), 1.0 - s)
        assert there.hands == back.hands
        assert there.things == back.things
        assert there.change == pytest.approx(1.0 - back.change)
