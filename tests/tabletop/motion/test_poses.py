import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletop.motion.poses import PART_PATH, REST, Cue, ease, part_at, ramp, swing, visit

unit = st.floats(0.0, 1.0)
CUE = Cue(
    "open", "jar", None, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), 1, 3.0, 0.4, (0.1, 0.2, 0.3, 0.4)
)


@given(unit, unit, unit, unit)
def test_a_step_rises_from_0_to_1_between_its_bounds(s, later, a, b):
    a, b = sorted((a, b))
    s, later = sorted((s, later))
    assert 0.0 <= ease(s, a, b) <= ease(later, a, b) <= 1.0
    assert ease(a, a, b) == 0.0
    assert ease(b, a, b) == (1.0 if b > a else 0.0)
    if b > a + 1e-3:
        assert ease((a + b) / 2, a, b) == pytest.approx(0.5)


@given(unit, st.floats(0.01, 0.45), st.floats(0.55, 0.99))
def test_a_visit_stays_between_rest_and_its_aim_and_waits_there(s, arrive, leave):
    rest, there = REST[1], (-0.2, -0.3)
    x, y = visit(rest, there, s, arrive, leave)
    assert there[0] <= x <= rest[0]
    assert there[1] <= y <= rest[1]
    assert visit(rest, there, 0.0, arrive, leave) == visit(rest, there, 1.0, arrive, leave) == rest
    if arrive <= s < leave:
        assert (x, y) == pytest.approx(there)


@given(unit, st.floats(0.1, 5.0))
def test_a_swing_is_bounded_and_still_outside_its_time(s, rate_hz):
    assert abs(swing(CUE, s, 0.3, 0.7, rate_hz)) <= 1.0
    assert (
        swing(CUE, s * 0.3, 0.3, 0.7, rate_hz) == swing(CUE, 0.7 + 0.3 * s, 0.3, 0.7, rate_hz) == 0
    )


def test_a_change_starts_at_the_key_moment_and_takes_its_seconds():
    assert ramp(CUE, CUE.key) == 0.0
    assert ramp(CUE, CUE.key + 0.3 / CUE.duration_s, seconds=0.6) == pytest.approx(0.5)
    assert ramp(CUE, CUE.key + 0.6 / CUE.duration_s + 1e-9, seconds=0.6) == 1.0


@pytest.mark.parametrize("noun", sorted(PART_PATH))
def test_a_part_begins_and_ends_on_its_path(noun):
    start, stop = PART_PATH[noun]
    assert part_at(noun, 0.0) == pytest.approx(start)
    assert part_at(noun, 1.0) == pytest.approx(stop)
