"""A hub on loopback: what is asked of it, what is kept, and what is said when it is away."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

from weights.errors import RemoteFailed, TermsNotAccepted
from weights.published.encoders import ENCODERS, FREE
from weights.published.hub import check_licence, fetch_snapshot, licence_of

COMMITS = {"main": "a" * 40, "v1": "b" * 40}
FILES = {
    "config.json": b'{"model_type": "vjepa2"}',
    "model.safetensors": b"tensors of %s",
    "README.md": b"---\nlicense: mit\n---\n",
    "pytorch_model.bin": b"a pickle",
    "modeling.py": b"raise SystemExit",
    "onnx/model.safetensors": b"another model",
}


class Hub(BaseHTTPRequestHandler):
    """Answers the routes that a snapshot needs: a revision, its files, and a file."""

    def do_GET(self):
        self.server.asked.append(path := unquote(urlsplit(self.path).path))
        parts = path.strip("/").split("/")
        if parts[:3] == ["api", "models", "owner"] and parts[3] == "model":
            revision = parts[5] if len(parts) > 5 else "main"
            commit = COMMITS.get(revision, revision if revision in COMMITS.values() else None)
            if commit is not None and "tree" in parts:
                rows = [
                    {"type": "file", "path": name, "size": len(body), "oid": name}
                    for name, body in FILES.items()
                ]
                return self.answer(json.dumps(rows).encode(), type="application/json")
            if commit is not None:
                siblings = [{"rfilename": name} for name in FILES]
                facts = {"id": "owner/model", "sha": commit, "siblings": siblings, "tags": []}
                return self.answer(json.dumps(facts).encode(), type="application/json")
        if parts[:3] == ["owner", "model", "resolve"] and (name := "/".join(parts[4:])) in FILES:
            body = FILES[name].replace(b"%s", parts[3][:1].encode())
            return self.answer(body, commit=parts[3])
        code = "RevisionNotFound" if "owner" in parts else "RepoNotFound"
        return self.answer(b"", 404, **{"X-Error-Code": code})

    do_HEAD = do_GET

    def answer(self, body, status=200, *, type="application/octet-stream", commit=None, **headers):
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(body)))
        if commit is not None:
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


SCRIPT = """
import os, sys
from weights.errors import WeightsError
from weights.published.hub import fetch_snapshot
for at in sys.argv[1:]:
    repository, _, revision = at.partition("@")
    try:
        found = fetch_snapshot(repository, revision or None)
        tensors = (found.folder / "model.safetensors").read_text()
        print(found.commit[:1], *sorted(os.listdir(found.folder)), "|", tensors)
    except WeightsError as error:
        print("failed:", error)
"""


def ask(home, *repositories, **environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *repositories],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.splitlines()


@pytest.mark.slow(8)
def test_a_snapshot_is_of_one_commit_and_holds_no_code_and_no_pickle(hub, tmp_path):
    mirror = f"http://127.0.0.1:{hub.server_port}"
    kept = "README.md config.json model.safetensors |"
    asked = ["owner/model", "owner/model@v1", "owner/model@gone", "nobody/model", "no name/x"]
    main, old, gone, nobody, no_name = ask(tmp_path, *asked, HF_ENDPOINT=mirror)
    assert (main, old) == (f"a {kept} tensors of a", f"b {kept} tensors of b")
    assert gone.startswith("failed: hf://owner/model@gone: the repository has no such revision")
    assert nobody.startswith("failed: hf://nobody/model: http://127.0.0.1:")
    assert no_name.startswith("failed: hf://no name/x: ")
    assert not any(name in path for path in hub.asked for name in ("bin", ".py", "onnx"))

    del hub.asked[:]
    offline = {"HF_ENDPOINT": mirror, "HF_HUB_OFFLINE": "1"}
    again, never = ask(tmp_path, "owner/model@v1", "nobody/model", **offline)
    assert again == old
    assert never.startswith(
        "failed: hf://nobody/model: not in the cache, and the hub is not reachable"
    )
    assert hub.asked == []


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: Apache-2.0\n---\n# m\n", "apache-2.0"),
        ('---\r\ntags: [a]\r\nlicense: "cc-by-nc-4.0"\r\n---\r\n', "cc-by-nc-4.0"),
        ("---\ntags:\n- a\n---\nlicense: mit\n", None),
        ("license: mit\n", None),
        ("---\nlicense:\n- mit\n---\n", None),
        ("", None),
    ],
)
def test_a_licence_is_what_the_head_of_the_card_says(tmp_path, card, licence):
    (tmp_path / "README.md").write_bytes(card.encode())
    assert licence_of(tmp_path) == licence


def test_a_folder_without_a_card_states_no_licence(tmp_path):
    assert licence_of(tmp_path) is None


def test_what_may_forbid_a_use_has_to_be_accepted():
    for licence in sorted(FREE):
        check_licence("m", licence, is_accepted=False)
    for licence in ("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "other", "llama3", None):
        with pytest.raises(TermsNotAccepted, match="--accept-license"):
            check_licence("m", licence, is_accepted=False)
        check_licence("m", licence, is_accepted=True)


def test_all_published_encoders_are_free_and_named_once():
    assert {encoder.licence for encoder in ENCODERS.values()} <= FREE
    assert len({encoder.repository for encoder in ENCODERS.values()}) == len(ENCODERS)
    assert all(name == encoder.name for name, encoder in ENCODERS.items())


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RemoteFailed, match="pip install"):
        fetch_snapshot("owner/model")
