"""Units of work that kill who does them, and actors that cannot work."""

import json

import pytest

from tests.cluster.crew_run import FINE, POISON
from tests.cluster.runs import Run


@pytest.fixture(scope="module")
def found(nodes):
    run = Run("tests.cluster.crew_run", nodes.address, "poison", "unfit", "clumsy",
              environment=nodes.environment)  # fmt: skip
    code, printed, said = run.end()
    assert code == 0, said
    return json.loads(printed)


def test_what_kills_its_actor_twice_is_given_up_and_its_neighbours_are_not(found):
    poison = found["poison"]
    assert poison["failed"] is None
    assert sorted(poison["given_up"]) == sorted(POISON)
    assert poison["done"] == {id: id.upper() for id in FINE}
    # At most: the news of a second beginning may be taken together with the first's.
    assert all(1 <= poison["begun"][id] <= 2 for id in POISON)


@pytest.mark.parametrize(
    ("scenario", "says"), [("unfit", "no weights here"), ("clumsy", "out of memory")]
)
def test_what_is_not_a_units_fault_ends_the_run_and_says_where(found, scenario, says):
    ended = found[scenario]
    assert says in ended["failed"]
    assert ended["failed"].startswith("node ")
    assert (ended["done"], ended["given_up"]) == ({}, [])


def test_a_path_that_nodes_do_not_see_is_named_before_any_work(nodes, tmp_path):
    absent = tmp_path / "absent"
    run = Run("tests.cluster.crew_run", nodes.address, f"check:{absent}",
              environment=nodes.environment)  # fmt: skip
    code, printed, said = run.end()
    assert code == 0, said
    failed = json.loads(printed)[f"check:{absent}"]["failed"]
    assert f"does not see {absent}" in failed
    assert any(worker.ip in failed for worker in nodes.workers)
