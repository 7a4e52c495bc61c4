"""A file server on the loopback that misbehaves as it is told."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Origin:
    """Serves `body` at every path but /moved, which redirects.

    Attributes:
        etag: of the body; None sends none.
        statuses: of the next answers, one by one; None, like none left, is the body.
        cuts: bytes after which the connection is closed, one for each answer with a body.
        ranges: whether it knows Range.
        if_range: whether it looks at If-Range before it obeys Range.
        span: the most bytes that it answers to a Range; None means all that are left.
        length: whether it says how long a body is.
        requests: headers of every request that came.
        paths: of these requests.
        sent: bytes of bodies sent, in all.
    """

    def __init__(self, body=b""):
        self.body, self.etag = body, '"one"'
        self.statuses, self.cuts = [], []
        self.ranges = self.if_range = self.length = True
        self.span = None
        self.requests, self.paths, self.sent = [], [], 0
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                origin.answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, handler):
        self.requests.append(dict(handler.headers))
        self.paths.append(handler.path)
        if handler.path == "/moved":
            self._head(handler, 302, {"Location": "/file"})
        elif self.statuses and (status := self.statuses.pop(0)):
            self._head(handler, status, {"Content-Length": "0"})
        else:
            self._answer_body(handler)

    def _answer_body(self, handler):
        start = self._start(handler.headers)
        facts = {"ETag": self.etag} if self.etag else {}
        if start is not None and start >= len(self.body):
            self._head(handler, 416, facts | {"Content-Range": f"bytes */{len(self.body)}"})
            return
        rest = self.body[start or 0 :]
        if start is not None:
            rest = rest[: self.span]
            last, size = start + len(rest) - 1, len(self.body)
            facts["Content-Range"] = f"bytes {start}-{last}/{size}"
        if self.length:
            facts["Content-Length"] = str(len(rest))
        self._head(handler, 200 if start is None else 206, facts)
        if self.cuts:
            rest = rest[: self.cuts.pop(0)]
        self.sent += len(rest)  # first: the client may be done before this thread goes on
        handler.wfile.write(rest)

    def _start(self, headers):
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        if not asked or not self.ranges:
            return None
        stale = "If-Range" in headers and headers["If-Range"] != self.etag
        return None if stale and self.if_range else int(asked[1])

    @staticmethod
    def _head(handler, status, headers):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
