"""An S3 of our own on the loopback, which counts what it is asked and fails when told to."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support.waiting import PATIENCE_S

SECRET = "not-to-be-shown"
LOGIN = {
    "aws_access_key_id": "tests",
    "aws_secret_access_key": SECRET,
    "region_name": "us-east-1",
}


class _Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


class Storage:
    """A server with one bucket, `bucket`.

    Attributes:
        url: of it.
        objects: a plain client of it, by another library than the one under test.
        asked: "METHOD /bucket/key" of every request since the last `clear`.
        refuse: requests that match this are answered 403.
        pause: requests that match this wait until `resume` is set.
        waiting: set when one of them has come.
    """

    def __init__(self):
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True,
                                   request_handler=_Quiet)  # fmt: skip
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.asked, self.refuse, self.pause = [], None, None
        self.waiting, self.resume = threading.Event(), threading.Event()
        self.objects = boto3.client("s3", endpoint_url=self.url, **LOGIN)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.objects.create_bucket(Bucket="bucket")

    def close(self):
        self.resume.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def empty(self):
        """Removes every object, and what was asked for."""
        for key in self.names():
            self.objects.delete_object(Bucket="bucket", Key=key)
        self.clear()

    def clear(self):
        self.asked.clear()
        self.waiting.clear()
        self.resume.clear()
        self.refuse = self.pause = None

    def gets(self, pattern=""):
        return [a for a in self.asked if a.startswith("GET") and re.search(pattern, a)]

    def puts(self, pattern=""):
        return [a for a in self.asked if a.startswith("PUT") and re.search(pattern, a)]

    def names(self):
        """Of all objects, sorted."""
        listed = self.objects.list_objects_v2(Bucket="bucket")
        return sorted(entry["Key"] for entry in listed.get("Contents", ()))

    def content(self, key):
        return self.objects.get_object(Bucket="bucket", Key=key)["Body"].read()

    def put(self, key, data):
        self.objects.put_object(Bucket="bucket", Key=key, Body=data)

    def flip(self, key):
        """Changes the last bit of an object."""
        data = self.content(key)
        self.put(key, data[:-1] + bytes([data[-1] ^ 1]))

    def _answer(self, environ, start_response):
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        self.asked.append(request)
        if self.pause and re.search(self.pause, request):
            self.waiting.set()
            self.resume.wait(PATIENCE_S)
        if self.refuse and re.search(self.refuse, request):
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        return self._app(environ, start_response)


@contextmanager
def running_storage() -> Iterator[Storage]:
    """Yields a storage that this process, and those it starts, take for S3."""
    storage = Storage()
    ours = {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": storage.url,
        "NO_PROXY": "127.0.0.1",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield storage
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        storage.close()
