"""Leases on a clock that never steps, whatever the machine's clock does."""

from server.jobs.leases import LeaseWatch
from server.jobs.store import JobStore
from tests.server.jobs.test_store import new_job

HOUR_S = 3600.0


def test_a_lease_is_over_once_nobody_renewed_it_for_its_length():
    watch, outages = LeaseWatch(), 0

    def abandoned(stamp, clock_s):
        found = watch.abandoned({"a": stamp}, clock_s=clock_s, lease_s=10.0, outages=outages)
        return list(found)

    assert abandoned((1, 5.0), 0.0) == []
    assert abandoned((1, 5.0), 10.0) == []
    assert abandoned((1, 6.0), 10.5) == []  # renewed: the watch begins again
    assert abandoned((1, 6.0), 20.0) == []
    assert abandoned((1, 6.0), 20.6) == ["a"]
    outages = 1  # nobody could renew it meanwhile
    assert abandoned((1, 6.0), 21.0) == []
    assert abandoned((1, 6.0), 31.1) == ["a"]
    assert watch.abandoned({}, clock_s=99.0, lease_s=10.0, outages=outages) == {}


def test_a_step_of_the_machines_clock_neither_takes_nor_keeps_a_job(database):
    here, there = JobStore(database), JobStore(database)
    here.add(new_job(), now_s=0.0)
    job = here.claim(now_s=0.0, lease_s=10.0, clock_s=0.0)
    assert there.claim(now_s=HOUR_S, lease_s=10.0, clock_s=500.0) is None  # an hour ahead
    here.renew(job, now_s=9.0, lease_s=10.0, clock_s=9.0)
    assert there.claim(now_s=HOUR_S + 9, lease_s=10.0, clock_s=509.0) is None
    here.renew(job, now_s=9.0 - HOUR_S, lease_s=10.0, clock_s=18.0)  # its clock was set back
    assert there.claim(now_s=HOUR_S + 18, lease_s=10.0, clock_s=518.0) is None
    heir = there.claim(now_s=18.0 - HOUR_S, lease_s=10.0, clock_s=528.1)
    assert (heir.id, heir.attempt) == (job.id, 2)


def test_while_the_store_is_away_no_lease_ends(database):
    here, there = JobStore(database), JobStore(database)
    here.add(new_job(), now_s=0.0)
    job = here.claim(now_s=0.0, lease_s=10.0)
    assert there.claim(now_s=0.0, lease_s=10.0) is None
    database.outages += 1
    assert there.claim(now_s=60.0, lease_s=10.0) is None
    here.renew(job, now_s=61.0, lease_s=10.0)
    here.succeed(job, "file", now_s=62.0, expires_s=99.0)
