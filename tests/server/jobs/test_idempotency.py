"""Idempotency keys, on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from server.errors import KeyInProgress
from server.jobs.idempotency import EarlierUse, IdempotencyKeys
from server.jobs.store import JobStore
from tests.server.jobs.test_store import new_job


def test_a_key_leads_to_its_job_and_to_no_other_callers(database):
    keys, store = IdempotencyKeys(database), JobStore(database)
    assert keys.reserve("me", "k", now_s=0.0, hold_s=9.0) is None
    with pytest.raises(KeyInProgress):
        keys.reserve("me", "k", now_s=1.0, hold_s=9.0)
    assert keys.reserve("another", "k", now_s=1.0, hold_s=9.0) is None
    job = store.add(new_job(), now_s=2.0, key="k", body_sha256="b")
    assert keys.reserve("me", "k", now_s=3.0, hold_s=9.0) == EarlierUse(job.id, "b")
    keys.release("me", "k")  # in use by now: stays
    keys.purge(now_s=1e9)
    assert keys.reserve("me", "k", now_s=1e9, hold_s=9.0) == EarlierUse(job.id, "b")


def test_a_key_comes_free_when_its_body_never_came(database):
    keys = IdempotencyKeys(database)
    keys.reserve("me", "k", now_s=0.0, hold_s=9.0)
    keys.release("me", "k")
    assert keys.reserve("me", "k", now_s=0.0, hold_s=9.0) is None
    assert keys.reserve("me", "k", now_s=9.1, hold_s=9.0) is None  # its server was killed
    with pytest.raises(KeyInProgress):
        keys.reserve("me", "k", now_s=18.0, hold_s=9.0)
    keys.purge(now_s=18.2)
    assert keys.reserve("me", "k", now_s=18.2, hold_s=9.0) is None


def test_a_key_is_forgotten_with_its_job(database):
    keys, store = IdempotencyKeys(database), JobStore(database)
    keys.reserve("me", "k", now_s=0.0, hold_s=9.0)
    store.add(new_job(), now_s=0.0, key="k", body_sha256="b")
    store.fail(store.claim(now_s=0.0, lease_s=9.0), {}, now_s=1.0)
    store.purge(ended_before_s=2.0)
    assert keys.reserve("me", "k", now_s=3.0, hold_s=9.0) is None


def test_of_many_at_once_one_holds_the_key(database):
    keys = IdempotencyKeys(database)

    def reserve(_):
        try:
            return keys.reserve("me", "k", now_s=0.0, hold_s=9.0) is None
        except KeyInProgress:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(reserve, range(16))) == 1


def test_a_lease_that_is_renewed_holds_the_key(database):
    keys, store = IdempotencyKeys(database), JobStore(database)
    keys.reserve("me", "k", now_s=0.0, hold_s=9.0)
    keys.renew("me", "k", now_s=8.0, hold_s=9.0)
    with pytest.raises(KeyInProgress):
        keys.reserve("me", "k", now_s=16.0, hold_s=9.0)
    job = store.add(new_job(), now_s=16.0, key="k", body_sha256="b")
    keys.renew("me", "k", now_s=16.0, hold_s=9.0)  # too late: changes nothing
    assert keys.reserve("me", "k", now_s=17.0, hold_s=9.0) == EarlierUse(job.id, "b")


def test_of_two_requests_whose_lease_ran_out_one_gets_the_key(database):
    keys, store = IdempotencyKeys(database), JobStore(database)
    keys.reserve("me", "k", now_s=0.0, hold_s=9.0)
    assert keys.reserve("me", "k", now_s=10.0, hold_s=9.0) is None
    first = store.add(new_job(), now_s=11.0, key="k", body_sha256="b")
    late = new_job()
    with pytest.raises(KeyInProgress):
        store.add(late, now_s=12.0, key="k", body_sha256="b")
    assert store.get(late.id) is None
    assert keys.reserve("me", "k", now_s=13.0, hold_s=9.0) == EarlierUse(first.id, "b")
