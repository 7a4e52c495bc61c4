"""Every file of the corpus through a real server: the right outcome, and nothing else happens."""

import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from clients.local import LocalServer
from server.schemas.prediction import ProblemBody
from tests.extract.support.clips import noisy_frames, write_clip, write_numbered
from tests.support.hostile.corpus import CORPUS
from tests.support.hostile.specimen import Bait
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.service

WALL_S = 10.0
"""What one clip may take to decode here."""

NEVER_SENT = ("Traceback", "site-packages", "Errno", "libav", "avcodec", "moov", "extract.", ".py")


class Listeners:
    """A stream and a datagram socket that remember who came."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._stream = socket.create_server(("127.0.0.1", 0))
        self._datagram = socket.socket(type=socket.SOCK_DGRAM)
        self._datagram.bind(("127.0.0.1", 0))
        self.http = f"http://127.0.0.1:{self._stream.getsockname()[1]}"
        self.udp_port = self._datagram.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._receive, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._stream.accept()
            self.heard.append("a connection")
            connection.close()

    def _receive(self) -> None:
        while True:
            self._datagram.recv(65536)
            self.heard.append("a datagram")


@pytest.fixture(scope="module")
def listeners():
    return Listeners()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def bait(folder, listeners):
    made = folder / "made"
    made.mkdir()
    secret = write_clip(folder / "secret.mp4", noisy_frames(50, 64, 48))
    return Bait(made, listeners.http, listeners.udp_port, secret)


@pytest.fixture(scope="module")
def good(folder):
    return write_numbered(folder / "good.mp4", 60).read_bytes()


@pytest.fixture(scope="module")
def server(folder):
    """A real one, whose every temporary file lies below `folder`."""
    (folder / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder / "tmp"))
        flags = ["--spool-dir", str(folder / "spool"), "--decode-workers", "2"]
        limits = ["--max-upload-mb", "8", "--decode-wall-s", str(WALL_S)]
        with LocalServer(*flags, *limits) as running:
            yield running
    assert running.exit_code == 0
    assert files_in(folder / "spool") == files_in(folder / "tmp") == []


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE_S) as client:
        yield client


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def post(http, body, name="clip.mp4"):
    return http.post("/v1/predictions", files={"video": (name, body)})


def stable(answer):
    return {name: value for name, value in answer.items() if name not in ("id", "timings")}


@pytest.fixture(scope="module")
def expected(http, good):
    response = post(http, good)
    assert response.status_code == 200, response.text
    return stable(response.json())


def test_the_corpus_is_large_and_its_names_are_unique():
    assert len({specimen.name for specimen in CORPUS}) == len(CORPUS) >= 40


@pytest.mark.parametrize("specimen", CORPUS, ids=lambda one: one.name)
def test_a_file_has_its_outcome_and_the_next_clip_its_answer(
    specimen, http, bait, good, expected, folder, listeners, server
):
    body = specimen.make(bait)
    begun_s = time.monotonic()
    response = post(http, body, specimen.sent_as)
    took_s = time.monotonic() - begun_s
    answer = response.json()
    found = (response.status_code, answer.get("code", ""))
    assert found == (specimen.status, specimen.code), response.text[:500]
    assert took_s < 3 * WALL_S
    if response.status_code == 200:
        assert {warning["code"] for warning in answer["warnings"]} == specimen.warnings
        assert answer["segments"]
    else:
        check_says_nothing(response, folder)
    assert stable(post(http, good).json()) == expected
    assert files_in(folder / "spool") == []
    assert listeners.heard == []


def check_says_nothing(response, folder):
    """A refusal keeps to its schema and names nothing of the server's own."""
    assert response.headers["content-type"] == "application/problem+json"
    ProblemBody.model_validate_json(response.text, strict=True)
    for secret in (*NEVER_SENT, str(folder), "/tmp"):
        assert secret not in response.text


def test_the_listeners_can_hear(bait, listeners):
    """Without this, silence would prove nothing."""
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{bait.http}/x", trust_env=False)
    assert listeners.heard == ["a connection"]
    listeners.heard.clear()
