"""The example node against stand-ins of ROS 2's packages, which are not on an index of packages."""

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.clients.support.live import FakeServer, InThread
from tests.support.waiting import PATIENCE_S

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "ros2_node.py"


class Node:
    parameters = {}

    def __init__(self, name):
        self.name, self.published, self.logged, self.callbacks = name, [], [], {}

    def declare_parameter(self, name, default):
        return SimpleNamespace(value=self.parameters.get(name, default))

    def create_publisher(self, kind, topic, depth):
        return SimpleNamespace(publish=lambda message: self.published.append((topic, message)))

    def create_subscription(self, kind, topic, callback, qos):
        self.callbacks[topic] = callback

    def get_logger(self):
        return SimpleNamespace(warning=self.logged.append, error=self.logged.append)

    def destroy_node(self):
        pass


@pytest.fixture
def example(monkeypatch):
    def module(name, **contents):
        made = ModuleType(name)
        vars(made).update(contents)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    module("rclpy")
    module("rclpy.node", Node=Node)
    module("rclpy.qos", qos_profile_sensor_data=object())
    module("sensor_msgs")
    module("sensor_msgs.msg", CompressedImage=SimpleNamespace)
    module("std_msgs")
    module("std_msgs.msg", String=SimpleNamespace)
    spec = importlib.util.spec_from_file_location("ros2_node", EXAMPLE)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def image(second):
    stamp = SimpleNamespace(sec=second, nanosec=500_000_000)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), data=b"jpeg" * 10)


def test_pictures_of_a_topic_are_answered_on_another(example, monkeypatch):
    with InThread(FakeServer()) as there:
        monkeypatch.setattr(Node, "parameters", {"url": there.url, "segment_s": 4.0})
        node = example.EgoPackNode()
        for second in range(6):
            node.callbacks["image/compressed"](image(second))
        until = time.monotonic() + PATIENCE_S
        while len(node.published) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        node.destroy_node()
        assert there.server.openings[0]["segment_s"] == 4.0
        assert len(there.server.taken) == 6
    answers = [json.loads(message.data) for topic, message in node.published if topic == "egopack"]
    assert [answer["type"] for answer in answers[:3]] == ["answer"] * 3
    assert node.logged == []


def test_a_server_that_is_full_is_tried_again(example, monkeypatch):
    with InThread(FakeServer(refuses=(429, "queue-full"))) as there:
        monkeypatch.setattr(Node, "parameters", {"url": there.url})
        node = example.EgoPackNode()
        node.callbacks["image/compressed"](image(0))
        until = time.monotonic() + PATIENCE_S
        while not node.logged and time.monotonic() < until:
            time.sleep(0.01)
        node.destroy_node()
    assert node.logged == ["not now; trying again in 5 s"]
