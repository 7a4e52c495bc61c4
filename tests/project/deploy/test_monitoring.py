"""Compose, Prometheus and the rules agree, so that nothing watched goes silent unseen."""

import re
from pathlib import Path

import pytest
import yaml

from server.api.middleware import OPEN_PATHS
from server.settings.settings import Settings

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
PROMETHEUS = yaml.safe_load((ROOT / "docs/ops/prometheus.yml").read_text())
RULES = yaml.safe_load((ROOT / "docs/ops/alerts.yml").read_text())["groups"]
JOBS = PROMETHEUS["scrape_configs"]


def settings_of(service, monkeypatch):
    """The settings that a service's environment makes, with a key for each variable to fill in."""
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{.*\}", "a-key-of-more-than-one-character", value))
    return Settings()


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job["job_name"])
def test_what_prometheus_scrapes_answers_it(job, monkeypatch):
    targets = [one for static in job["static_configs"] for one in static["targets"]]
    assert targets
    for target in targets:
        host, _, port = target.partition(":")
        settings = settings_of(COMPOSE[host], monkeypatch)
        assert job.get("metrics_path", "/metrics") == "/metrics"
        if int(port) == settings.metrics_port:
            continue  # without keys
        assert settings.metrics_port is None
        assert int(port) == 8080
        sends_key = {"authorization", "basic_auth"} & set(job)
        assert settings.open_metrics or "/metrics" in OPEN_PATHS or sends_key


def test_a_port_without_keys_is_not_published():
    private = {target.partition(":")[2] for target in JOBS[0]["static_configs"][0]["targets"]}
    published = [one for service in COMPOSE.values() for one in service.get("ports", ())]
    assert all(one.startswith("127.0.0.1:") for one in published)
    assert private.isdisjoint(one.rpartition(":")[2] for one in published)


def test_files_that_prometheus_reads_are_mounted():
    mounts = [one.split(":") for one in COMPOSE["prometheus"]["volumes"]]
    inside = {parts[1]: ROOT / parts[0] for parts in mounts if parts[0].startswith("./")}
    needed = [*PROMETHEUS["rule_files"], "/etc/prometheus/prometheus.yml"]
    needed += [job["authorization"]["credentials_file"] for job in JOBS if "authorization" in job]
    for path in needed:
        assert inside[path].is_file()


def test_the_rules_are_of_jobs_that_are_scraped():
    named = {job["job_name"] for job in JOBS}
    for rule in (rule for group in RULES for rule in group["rules"]):
        assert set(re.findall(r'job="(.*?)"', rule["expr"])) <= named
        assert "job=" in rule["expr"]


@pytest.mark.parametrize("job", [job["job_name"] for job in JOBS])
def test_a_target_that_is_down_or_gone_is_an_alert(job):
    rules = {rule["expr"] for group in RULES for rule in group["rules"]}
    watching = [one for one in rules if f'up{{job="{job}"}} == 0' in one]
    assert any(f'absent(up{{job="{job}"}})' in one for one in watching)


def test_no_service_may_gain_privileges():
    for name, service in COMPOSE.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
