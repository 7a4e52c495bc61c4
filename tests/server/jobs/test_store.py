"""The job store on both databases: one worker per job, whatever crashes or is late."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.jobs.leases import LeaseWatch
from server.jobs.records import NewJob
from server.jobs.store import JobStore, LeaseLost
from server.jobs.webhooks import BACKOFF_S, WebhookOutbox

LEASE_S = 10.0
HOUR_S = 3600.0


def new_job(caller="me", **values):
    facts = {"request": {"top_k": 3}, "input_kind": "video", "input_bytes": 5, "input_sha256": "a"}
    return NewJob(id=uuid4().hex, caller=caller, **facts | values)


@pytest.fixture
def store(database):
    return JobStore(database)


def test_a_job_lives_from_queue_to_result(store):
    added = store.add(new_job(), now_s=1.0)
    assert (added.state, added.attempt) == ("queued", 0)
    assert store.get(added.id) == added
    job = store.claim(now_s=2.0, lease_s=LEASE_S)
    assert (job.id, job.state, job.attempt, job.started_s) == (added.id, "running", 1, 2.0)
    store.renew(job, now_s=3.0, lease_s=LEASE_S, progress={"stage": "features"})
    store.succeed(job, "file", now_s=4.0, expires_s=9.0)
    ended = store.get(job.id)
    assert (ended.state, ended.result, ended.finished_s) == ("succeeded", "file", 4.0)
    assert (ended.progress, ended.expires_s) == ({"stage": "features"}, 9.0)
    events = store.events(job.id)
    assert [event.seq for event in events] == [1, 2, 3]
    assert [event.name for event in events] == ["progress", "progress", "completed"]
    assert store.events(job.id, after=2) == events[2:]


def test_the_oldest_job_comes_first(store):
    ids = [store.add(new_job(), now_s=float(second)).id for second in (3, 1, 2)]
    claimed = [store.claim(now_s=5.0, lease_s=LEASE_S).id for _ in ids]
    assert claimed == [ids[1], ids[2], ids[0]]
    assert store.claim(now_s=5.0, lease_s=LEASE_S) is None


def test_a_dead_workers_job_is_taken_over_and_its_late_writes_are_refused(store):
    store.add(new_job(webhook_url="https://example.org"), now_s=0.0)
    dead = store.claim(now_s=1.0, lease_s=LEASE_S)
    assert store.claim(now_s=10.9, lease_s=LEASE_S) is None
    heir = store.claim(now_s=11.1, lease_s=LEASE_S)
    assert (heir.id, heir.attempt) == (dead.id, 2)
    assert heir.token > dead.token
    late_writes = [
        lambda: store.renew(dead, now_s=12.0, lease_s=LEASE_S, progress={"stage": "late"}),
        lambda: store.succeed(dead, "late", now_s=12.0, expires_s=99.0),
        lambda: store.fail(dead, {"code": "late"}, now_s=12.0),
        lambda: store.requeue(dead),
    ]
    before = store.get(heir.id)
    for write in late_writes:
        with pytest.raises(LeaseLost):
            write()
    assert store.get(heir.id) == before
    store.succeed(heir, "file", now_s=13.0, expires_s=99.0)
    for write in late_writes:
        with pytest.raises(LeaseLost):
            write()
    assert [e.name for e in store.events(heir.id)] == ["progress", "completed"]


def test_a_renewed_lease_is_not_taken(store):
    store.add(new_job(), now_s=0.0)
    job = store.claim(now_s=0.0, lease_s=LEASE_S)
    for second in range(5, 100, 5):
        store.renew(job, now_s=float(second), lease_s=LEASE_S)
        assert store.claim(now_s=second + 9.0, lease_s=LEASE_S) is None


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


def test_an_attempt_that_was_handed_back_counts_only_if_told_so(store):
    store.add(new_job(), now_s=0.0)
    store.requeue(store.claim(now_s=0.0, lease_s=LEASE_S))
    job = store.claim(now_s=0.0, lease_s=LEASE_S)
    assert (job.attempt, job.token) == (1, 2)
    store.requeue(job, counts=True)
    assert store.claim(now_s=0.0, lease_s=LEASE_S).attempt == 2


def test_cancel_ends_once_and_leaves_ends_alone(store):
    job = store.add(new_job(), now_s=0.0)
    claimed = store.claim(now_s=0.0, lease_s=LEASE_S)
    assert store.cancel(job.id, "another", now_s=1.0) is None
    canceled = store.cancel(job.id, "me", now_s=1.0)
    assert canceled.state == "canceled"
    assert store.cancel(job.id, "me", now_s=2.0) == canceled
    with pytest.raises(LeaseLost):
        store.succeed(claimed, "file", now_s=3.0, expires_s=9.0)
    assert [e.name for e in store.events(job.id)] == ["progress", "canceled"]


def test_results_expire_and_records_are_forgotten_with_all_that_hangs_on_them(store):
    job = store.add(new_job(webhook_url="https://example.org"), now_s=0.0)
    store.succeed(store.claim(now_s=0.0, lease_s=9.0), "file", now_s=1.0, expires_s=5.0)
    assert store.expire(now_s=4.9) == []
    assert [old.result for old in store.expire(now_s=5.0)] == ["file"]
    assert store.expire(now_s=5.0) == []
    assert (store.get(job.id).state, store.get(job.id).result) == ("expired", None)
    assert store.purge(ended_before_s=1.0) == 0
    assert store.purge(ended_before_s=1.1) == 1
    assert store.get(job.id) is None
    assert store.events(job.id) == []


def test_pages_show_ones_own_jobs_once_each_while_others_come_in(store):
    ids = [store.add(new_job(), now_s=float(n // 2)).id for n in range(9)]
    store.add(new_job("another"), now_s=50.0)
    seen, after = [], None
    while page := store.page("me", limit=2, after=after):
        seen += [job.id for job in page]
        after = (page[-1].created_s, page[-1].id)
        store.add(new_job(), now_s=100.0)  # newer than all: on no later page
    assert sorted(seen) == sorted(ids)
    times = [store.get(job_id).created_s for job_id in seen]
    assert times == sorted(times, reverse=True)
    assert store.page("me", limit=99, state="running") == []


@pytest.mark.slow
def test_many_workers_finish_every_job_exactly_once(new_database):
    """Workers that stall past their lease, under real concurrency: one result a job."""
    database = new_database()
    store = JobStore(database)
    jobs = [store.add(new_job(), now_s=0.0).id for _ in range(24)]
    clock, lock, ends = [0.0], threading.Lock(), []

    def tick():
        with lock:
            clock[0] += 1.0
            return clock[0]

    def work(worker):
        idle = 0
        while idle < 40:
            job = store.claim(now_s=tick(), lease_s=6.0)
            if job is None:
                idle += 1
                continue
            idle = 0
            for _ in range((job.token + worker) % 4):  # some take longer than their lease
                tick()
            try:
                store.succeed(job, f"{job.id}.{job.token}", now_s=tick(), expires_s=1e9)
            except LeaseLost:
                continue
            ends.append(job.id)

    with ThreadPoolExecutor(6) as workers:
        list(workers.map(work, range(6)))
    assert sorted(ends) == sorted(jobs)
    for job_id in jobs:
        job = store.get(job_id)
        assert job.result == f"{job_id}.{job.token}"
        assert [e.name for e in store.events(job_id)] == ["progress", "completed"]


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["add", "claim", "renew", "succeed", "fail", "requeue", "cancel", "wait"]),
        st.integers(0, 7),
    ),
    max_size=40,
)


def write(store, act, job, now_s):
    """What a worker may want to say of a job."""
    if act == "renew":
        store.renew(job, now_s=now_s, lease_s=5.0)
    elif act == "succeed":
        store.succeed(job, "r", now_s=now_s, expires_s=99.0)
    elif act == "fail":
        store.fail(job, {}, now_s=now_s)
    else:
        store.requeue(job)


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(acts=ACTS)
def test_only_the_latest_holder_of_a_live_lease_writes(new_database, acts):
    """Any story of workers, against the rules written down once more."""
    store = JobStore(new_database())
    now, claims, holder, live, queued, expires = 0.0, [], {}, set(), [], {}
    for act, number in acts:
        claim = claims[number % len(claims)] if claims else None
        is_holder = claim is not None and holder.get(claim.id) == claim.token and claim.id in live
        if act == "wait":
            now += number + 1
        elif act == "add":
            job_id = store.add(new_job(), now_s=now).id
            live.add(job_id)
            queued.append(job_id)
        elif act == "claim":
            job = store.claim(now_s=now, lease_s=5.0)
            if job is not None:
                assert job.id in live
                assert job.id in queued or now > expires[job.id]
                queued = [job_id for job_id in queued if job_id != job.id]
                claims.append(job)
                holder[job.id] = job.token
                expires[job.id] = now + 5.0
            else:
                assert not queued
                assert all(now <= expires[job_id] for job_id in live)
        elif act == "cancel" and claim is not None:
            store.cancel(claim.id, "me", now_s=now)
            live.discard(claim.id)
            queued = [job_id for job_id in queued if job_id != claim.id]
        elif claim is not None:
            if not is_holder:
                with pytest.raises(LeaseLost):
                    write(store, act, claim, now)
                continue
            write(store, act, claim, now)
            if act == "renew":
                expires[claim.id] = now + 5.0
            elif act == "requeue":
                queued.append(claim.id)
                holder[claim.id] = None
            else:
                live.discard(claim.id)


def test_the_outbox_delivers_an_end_once_and_retries_until_then(database, store):
    queue = WebhookOutbox(database)
    store.add(new_job(), now_s=0.0)  # without a webhook
    store.succeed(store.claim(now_s=0.0, lease_s=9.0), "file", now_s=1.0, expires_s=9.0)
    assert queue.claim(now_s=1.0, lease_s=9.0) is None
    job = store.add(new_job(webhook_url="https://example.org"), now_s=0.0)
    store.fail(store.claim(now_s=0.0, lease_s=9.0), {"code": "x"}, now_s=1.0)
    first = queue.claim(now_s=1.0, lease_s=9.0)
    assert (first.job_id, first.attempt) == (job.id, 1)
    assert queue.claim(now_s=9.9, lease_s=9.0) is None  # its sender may still be at it
    second = queue.claim(now_s=10.0, lease_s=9.0)  # its lease has expired
    assert (second.attempt, second.message_id) == (2, first.message_id)
    queue.settle(first, is_delivered=True, now_s=11.0)  # too late: changes nothing
    assert queue.settle(second, is_delivered=False, now_s=11.0)
    assert queue.claim(now_s=11.0 + BACKOFF_S[1] - 0.1, lease_s=9.0) is None
    third = queue.claim(now_s=11.0 + BACKOFF_S[1], lease_s=9.0)
    assert not queue.settle(third, is_delivered=True, now_s=50.0)
    assert queue.claim(now_s=1e9, lease_s=9.0) is None


def test_the_outbox_drops_a_message_after_its_last_attempt(database, store):
    queue = WebhookOutbox(database)
    store.add(new_job(webhook_url="https://example.org"), now_s=0.0)
    store.fail(store.claim(now_s=0.0, lease_s=9.0), {}, now_s=0.0)
    now, tries = 0.0, 0
    while (delivery := queue.claim(now_s=now, lease_s=1.0)) is not None:
        tries += 1
        queue.settle(delivery, is_delivered=False, now_s=now)
        now += 1e6
    assert tries == len(BACKOFF_S) + 1


def test_a_worker_claims_jobs_of_its_kinds_alone_dead_ones_included(store):
    video = store.add(new_job(), now_s=1.0)
    labels = store.add(new_job(input_kind="labels"), now_s=2.0)
    teaching = {"lease_s": LEASE_S, "kinds": ("labels",)}
    assert store.claim(now_s=3.0, **teaching).id == labels.id
    assert store.claim(now_s=3.0, **teaching) is None
    clips = {"lease_s": LEASE_S, "kinds": ("video", "features")}
    assert store.claim(now_s=4.0, **clips).id == video.id
    assert store.claim(now_s=13.9, **clips) is None  # the lease of the first is over, not theirs
    assert store.claim(now_s=13.9, **teaching).id == labels.id
