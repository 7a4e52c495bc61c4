"""What is refused before any cluster is asked."""

import sys

import pytest

from extract.__main__ import main as extract
from extract.cluster.session import find_room
from extract.errors import ClusterFailed
from tests.cluster.runs import BUNDLE
from tests.extract.support.clips import write_numbered
from tests.model.support.challenge import make_challenge, score


@pytest.fixture
def no_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)


@pytest.mark.usefixtures("no_ray")
def test_without_ray_both_commands_name_the_extra(tmp_path, caplog, capsys):
    video = write_numbered(tmp_path / "one.mp4", 33)
    asked = [str(video), "--out", str(tmp_path / "out"), "--encoder", str(BUNDLE)]
    assert extract([*asked, "--engine", "ray"]) == 1
    assert 'pip install "egopack-server[scale]"' in caplog.text
    assert score(make_challenge(tmp_path), tmp_path / "scored", "--engine", "ray") == 2
    assert 'pip install "egopack-server[scale]"' in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--address", "auto"], ["--actors", "2"],
                                  ["--engine", "ray", "--device", "cuda:1"]])  # fmt: skip
def test_options_that_contradict_each_other_are_refused(tmp_path, more, capsys):
    with pytest.raises(SystemExit) as ended:
        extract(["a.mp4", "--out", str(tmp_path), "--encoder", str(BUNDLE), *more])
    assert ended.value.code == 2
    assert "--engine ray" in capsys.readouterr().err


class Nodes:
    """A cluster as Ray describes it."""

    def __init__(self, *resources):
        self._resources = resources

    def nodes(self):
        return [{"Alive": True, "Resources": dict(r)} for r in self._resources]


HEAD, SMALL, LARGE, GPUS = {}, {"CPU": 1.0}, {"CPU": 8.0}, {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "cpus", "wants_gpu", "actors", "room"),
    [
        ((HEAD, LARGE, LARGE), 3, True, None, (4, 3, 0)),
        ((HEAD, SMALL), 2, False, None, (1, 1, 0)),
        ((SMALL, LARGE), 2, False, 3, (3, 2, 0)),
        ((LARGE, GPUS), 2, True, None, (4, 2, 1)),
        ((LARGE, GPUS), 8, True, None, (2, 8, 1)),
        ((LARGE, GPUS), 8, False, None, (3, 8, 0)),
    ],
)
def test_actors_fill_the_nodes_that_can_hold_one(nodes, cpus, wants_gpu, actors, room):
    found = find_room(Nodes(*nodes), cpus=cpus, wants_gpu=wants_gpu, actors=actors)
    assert (found.actors, found.cpus, found.gpus) == room


def test_a_cluster_without_cores_is_refused():
    with pytest.raises(ClusterFailed, match="offers a CPU"):
        find_room(Nodes(HEAD), cpus=2, wants_gpu=False, actors=None)
