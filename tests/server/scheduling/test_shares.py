import pytest

from server.scheduling.shares import Shares


def test_one_caller_holds_its_share_and_the_rest_is_for_others():
    shares = Shares(8, 0.75)
    with shares.hold("a", 6):
        assert not shares.has_room("a")
        assert shares.has_room("b", 2)
        assert not shares.has_room("b", 3)
        assert shares.has_room("", 2)  # nobody's share
    assert shares.has_room("a", 6)
    assert shares.held == 0


def test_what_is_held_elsewhere_counts_too():
    shares = Shares(8, 0.5)
    shares.elsewhere = {"a": 3, "": 2}
    assert shares.has_room("a", 1)
    assert not shares.has_room("a", 2)
    assert not shares.has_room("b", 4)


@pytest.mark.parametrize(("limit", "each"), [(1, 1), (2, 2), (3, 3), (4, 3), (64, 48)])
def test_a_share_is_never_less_than_one(limit, each):
    assert Shares(limit, 0.75).each == each
    assert Shares(limit, 1).each == limit
    assert Shares(limit, 0.1, least=2).each >= min(2, limit)


def test_a_failure_inside_gives_back_what_was_held():
    shares = Shares(1)
    with pytest.raises(RuntimeError), shares.hold("a"):
        raise RuntimeError
    assert shares.held == 0
    assert shares._own == {}  # no caller is remembered
