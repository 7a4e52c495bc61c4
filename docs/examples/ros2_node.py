"""ROS 2 node: a camera's topic goes to an EgoPack server, answers come back on a topic.

Subscribes to `image/compressed` (sensor_msgs/CompressedImage, JPEG or PNG); publishes each message
of the server on `egopack` (std_msgs/String, JSON). Parameters: `url`, `segment_s`. The key, if the
server wants one, is in the variable EGOPACK_API_KEY.
"""

import dataclasses
import json
import os
import queue
import threading

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

from clients.client import EgoPackClient
from clients.errors import ClientError

MOST_WAITING = 60
"""Pictures that wait for the network, after which the latest is left out."""


class EgoPackNode(Node):
    """Streams one camera for as long as the node lives, and begins again after an error."""

    def __init__(self):
        super().__init__("egopack")
        self.url = self.declare_parameter("url", "http://127.0.0.1:8080").value
        self.segment_s = self.declare_parameter("segment_s", 8.0).value
        self._waiting = queue.Queue(MOST_WAITING)
        self._answers = self.create_publisher(String, "egopack", 10)
        self.create_subscription(
            CompressedImage, "image/compressed", self._on_image, qos_profile_sensor_data
        )
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def destroy_node(self):
        self._is_over.set()
        self._waiting.put(None)
        self._thread.join(5.0)
        super().destroy_node()

    def _on_image(self, message):
        stamp = message.header.stamp
        try:
            self._waiting.put_nowait((stamp.sec + stamp.nanosec * 1e-9, bytes(message.data)))
        except queue.Full:
            self.get_logger().warning("the server takes no more pictures; one is left out")

    def _run(self):
        while not self._is_over.is_set():
            try:
                with EgoPackClient(self.url, api_key=os.environ.get("EGOPACK_API_KEY")) as server:
                    frames = iter(self._waiting.get, None)
                    for answer in server.live(frames, segment_s=self.segment_s):
                        kind = type(answer).__name__.removeprefix("Live").lower()
                        values = {"type": kind, **dataclasses.asdict(answer)}
                        self._answers.publish(String(data=json.dumps(values)))
            except ClientError as error:
                self.get_logger().error(f"{error}; trying again in 5 s")
                self._is_over.wait(5.0)
            except ValueError:  # the node ended before the first picture
                return


def main():
    """Runs the node until it is stopped."""
    rclpy.init()
    node = EgoPackNode()
    try:
        rclpy.spin(node)
    finally:
        node.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    main()
