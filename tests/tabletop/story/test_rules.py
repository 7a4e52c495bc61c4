"""The rules of the table under random play: whatever is allowed can be done, and undone."""

import copy

import numpy as np
import pytest

from tabletop.story.rules import (
    ALLOWED,
    CHANGING,
    FLAGS,
    FULL,
    INVERSE,
    NEAR_CAPACITY,
    NOUNS,
    TOOLS,
    Table,
)

PAIRS = [(verb, noun) for verb in ALLOWED for noun in ALLOWED[verb]]


def begin():
    return Table({noun: dict.fromkeys(FLAGS.get(noun, ()), 0) for noun in NOUNS})


def act(table, verb, noun):
    """Does what is missing and then the action; returns all of it."""
    done = []
    while (step := table.missing(verb, noun)) is not None:
        assert len(done) < 12, (verb, noun, done)
        assert table.allows(*step), (verb, noun, step)
        done += act(table, *step)
    table.apply(verb, noun)
    return [*done, (verb, noun)]


@pytest.fixture(params=range(4))
def played(request):
    """Tables on the way through a long random play."""
    rng, table, seen = np.random.default_rng(request.param), begin(), []
    for _ in range(150):
        allowed = [pair for pair in PAIRS if table.allows(*pair)]
        act(table, *allowed[rng.integers(len(allowed))])
        seen.append(table.copy())
    return seen


def test_whatever_is_allowed_can_be_made_ready_and_the_table_keeps_its_bounds(played):
    for table in played:
        assert len(table.near) <= NEAR_CAPACITY
        assert len(set(table.near)) == len(table.near)
        assert not set(table.near) & set(TOOLS)
        assert table.held is None or table.held in TOOLS
        for flags in table.flags.values():
            assert all(0 <= value <= FULL for value in flags.values())


def test_verbs_that_change_nothing_leave_every_flag_and_the_others_alter_one(played):
    for table in played[::10]:
        for verb, noun in PAIRS:
            if not table.allows(verb, noun) or table.missing(verb, noun) is not None:
                continue
            after = table.copy()
            change = table.change(verb, noun)
            after.apply(verb, noun)
            differing = {
                (thing, flag)
                for thing, flags in table.flags.items()
                for flag in flags
                if flags[flag] != after.flags[thing][flag]
            }
            assert (change is not None) == (verb in CHANGING) == bool(differing)
            if change is not None:
                assert (change[0], change[1]) in differing
                assert after.flags[change[0]][change[1]] == change[2]


@pytest.mark.parametrize(("verb", "noun"), [p for p in PAIRS if p[0] in INVERSE.values()])
def test_an_inverse_verb_brings_the_state_back(verb, noun):
    back = next(v for v, forward in INVERSE.items() if forward == verb)
    table = begin()
    flags = copy.deepcopy(table.flags)
    act(table, verb, noun)
    assert not table.allows(verb, noun)
    act(table, back, noun)
    assert table.flags == flags
    assert table.allows(verb, noun)
