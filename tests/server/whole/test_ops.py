"""What the operator's pages say exists, exists."""

import json
import re
from pathlib import Path

import pytest

from server.api.middleware import OPEN_PATHS
from server.settings.settings import Settings
from server.telemetry.metrics import Metrics

DOCS = Path(__file__).parents[3] / "docs"
PAGES = [DOCS / "ops.md", DOCS / "ops" / "grafana.json", DOCS / "ops" / "alerts.yml"]
OF_THE_MACHINE = {"bundle": "the shipped one", "decode_workers": "one a core"}


def sample_names():
    """Every name that a scrape can hold, samples that do not exist yet included."""
    found = set()
    for family in Metrics().registry.collect():
        suffixes = {
            "counter": ["_total"],
            "histogram": ["", "_bucket", "_sum", "_count"],  # the first in prose only
            "gauge": [""],
        }[family.type]
        found |= {family.name + suffix for suffix in suffixes}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_named_is_one_we_have(page):
    named = set(re.findall(r"\begopack_[a-z_]+", page.read_text()))
    assert named
    assert named - sample_names() == set()


def test_the_dashboard_and_the_list_show_every_metric():
    listed = set(re.findall(r"\begopack_[a-z_]+", (DOCS / "ops.md").read_text()))
    families = {family.name for family in Metrics().registry.collect()}
    assert {re.sub("_total$", "", name) for name in listed} == families


def test_labels_in_queries_are_labels_of_the_metric():
    labels = {
        metric._name: set(metric._labelnames)
        for metric in vars(Metrics()).values()
        if hasattr(metric, "_labelnames")
    }
    for page in PAGES[1:]:
        for name, selected in re.findall(r"(egopack_[a-z_]+){(.*?)}", page.read_text()):
            base = re.sub("_(total|bucket|sum|count)$", "", name)
            used = set(re.findall(r"(\w+)=", selected.replace("\\", ""))) - {"job", "instance"}
            assert used <= labels[base], name


def test_the_dashboard_is_one_grafana_can_read():
    dashboard = json.loads(PAGES[1].read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert all(target["expr"] for target in panel["targets"])


def rows():
    """The table of settings as it should be."""
    for name, field in Settings.model_fields.items():
        match OF_THE_MACHINE.get(name, field.default):
            case None | {}:
                default = ""
            case bool(value):
                default = str(value).lower()
            case value:
                default = f"{value:g}" if isinstance(value, float) else str(value)
        yield f"| `EGOPACK_{name.upper()}` | {default} | {' '.join(field.description.split())} |"


def test_the_table_of_settings_is_complete_and_right():
    found = [ln for ln in (DOCS / "ops.md").read_text().splitlines() if ln.startswith("| `EGOPACK")]
    assert found == list(rows()), "paste this instead:\n" + "\n".join(rows())


def test_the_pages_say_which_paths_need_no_key():
    text = (DOCS / "ops.md").read_text()
    assert [path for path in sorted(OPEN_PATHS) if f"`{path}`" not in text] == []
