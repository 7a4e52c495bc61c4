"""When actions begin and end, by the answers of a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.predict.outputs import ArAnswer, Evidence, Ranked, SegmentAnswer
from server.live.events import CONFIRMATIONS, INSISTENCE, ActionEvents


def answer(number, verb="cut", probability=0.8, noun="bread"):
    """The answer after `number` strides of half a second, of a sliding segment of 2 s."""
    end_s = 2.0 + number / 2
    ar = ArAnswer([Ranked(0, verb, probability)], [Ranked(0, noun, 1.0)])
    return SegmentAnswer(end_s - 2, end_s, ar, None, None, Evidence())


def told(answers, end_s=20.0):
    events = ActionEvents()
    found = [event for one in answers for event in events.take(one)]
    return found, list(events.finish(end_s))


def verbs(answers):
    return [(e.event, e.verb) for e in told(answers)[0]]


def test_an_action_is_told_once_it_stays_and_begins_with_the_stream():
    found, last = told([answer(0), answer(1), answer(2)])
    (start,), (end,) = found, last
    assert (start.event, start.start_s, start.end_s) == ("start", 0.0, None)
    assert (end.event, end.start_s, end.end_s) == ("end", 0.0, 20.0)
    assert (start.verb, start.noun, start.probability) == ("cut", "bread", pytest.approx(0.8))
    assert told([answer(0)]) == ([], [])


def test_the_next_one_begins_in_the_middle_of_its_first_segment_where_the_last_ends():
    found, last = told([answer(0), answer(1), answer(2, "take"), answer(3, "take")])
    assert [(e.event, e.verb, e.start_s, e.end_s) for e in found] == [
        ("start", "cut", 0.0, None),
        ("end", "cut", 0.0, 2.0),  # the segment of answer 2 lasts from 1 to 3 s
        ("start", "take", 2.0, None),
    ]
    assert last[0].start_s == 2.0


def test_one_answer_that_differs_changes_nothing():
    flicker = [answer(n, "take" if n in (2, 5) else "cut") for n in range(9)]
    assert verbs(flicker) == [("start", "cut")]
    others = [answer(n, f"verb{n}") for n in range(9)]
    assert verbs(others) == []


def test_a_doubtful_action_has_to_insist():
    doubtful = [answer(n, "take", 0.3) for n in range(2, 2 + INSISTENCE)]
    begun = [answer(0), answer(1)]
    assert verbs(begun + doubtful[:-1]) == [("start", "cut")]
    assert verbs(begun + doubtful) == [("start", "cut"), ("end", "cut"), ("start", "take")]
    likely = [answer(n, "take", 0.45) for n in (2, 3)]
    assert verbs(begun + likely)[-1] == ("start", "take")


def test_answers_without_actions_change_nothing():
    none = SegmentAnswer(0.0, 2.0, None, None, None, Evidence())
    assert verbs([none, answer(0), none, answer(1), none]) == [("start", "cut")]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 1.0)), max_size=40))
def test_events_are_stretches_that_follow_each_other(given):
    """Each begin has its end, no two overlap, and an action was on top when it is told."""
    answers = [answer(n, verb, p) for n, (verb, p) in enumerate(given)]
    end_s = 2.0 + len(answers) / 2
    found, last = told(answers, end_s)
    events = found + last
    assert [e.event for e in events] == ["start", "end"] * (len(events) // 2)
    for begin, end in zip(events[::2], events[1::2], strict=True):
        assert (begin.verb, begin.start_s) == (end.verb, end.start_s)
        assert begin.start_s <= end.end_s <= end_s
    for end, begin in zip(events[1::2], events[2::2], strict=False):
        assert end.end_s == begin.start_s
        assert end.verb != begin.verb
    runs = "".join(verb for verb, _ in given)
    assert all(e.verb * CONFIRMATIONS in runs for e in events)
