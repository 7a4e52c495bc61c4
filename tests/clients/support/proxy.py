"""A road to a server that can be cut, and led to another one."""

import contextlib
import socket
import threading


class Proxy:
    """Carries bytes both ways; `cut` breaks every connection that stands."""

    def __init__(self):
        self._door = socket.create_server(("127.0.0.1", 0))
        self._open = []
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.target = None
        threading.Thread(target=self._let_in, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._door.close()
        self.cut()

    def lead_to(self, url):
        host, _, port = url.removeprefix("http://").partition(":")
        self.target = (host, int(port))

    def cut(self):
        while self._open:
            one = self._open.pop()
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _let_in(self):
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                try:
                    callee = socket.create_connection(self.target)
                except OSError:
                    caller.close()
                    continue
                self._open += [caller, callee]
                for pair in ((caller, callee), (callee, caller)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
