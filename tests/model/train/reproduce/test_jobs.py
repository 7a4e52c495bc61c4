from model.train.methods.trainer import LABELS, Training, needs_of, parts_of
from model.train.reproduce.jobs import Job, plan_jobs


def test_jobs_come_after_what_they_need_each_once_a_seed():
    jobs = plan_jobs([p for m in LABELS for p in parts_of(m)], range(2))
    assert len(set(jobs)) == len(jobs)
    for job in jobs:
        before = {(j.part, j.seed) for j in jobs[: jobs.index(job)]}
        assert {(need, job.seed) for need in needs_of(job.part)} <= before
    assert Job(Training("backpack", ("ar", "lta", "oscc", "pnr")), 0, False) in jobs
