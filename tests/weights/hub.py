"""A model hub on the loopback: repositories with branches and commits, asked by huggingface_hub."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_not-to-be-shown"
FIRST = {".gitattributes": b"*.safetensors filter=lfs\n"}
"""What a hub puts into a new repository."""


@dataclass
class Repository:
    """Branches and tags, each the hash of a commit; a commit is its files."""

    private: bool
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, ref, files):
        sha = _oid(repr((ref, len(self.commits), sorted(files.items()))).encode())
        self.commits[sha], self.refs[ref] = files, sha
        return sha

    def resolve(self, revision):
        """Hash of the commit that a branch, a tag or a hash names, if there is one."""
        return self.refs.get(revision, revision if revision in self.commits else None)

    def at(self, revision):
        return self.commits[self.resolve(revision)]


class Refused(Exception):
    """An answer that is an error: status and the hub's code for it."""


class Hub:
    """A server of repositories; reading a private one and any writing needs TOKEN.

    Attributes:
        url: of it.
        repositories: "owner/name" -> repository.
        asked: "METHOD /path" of every request since the last `clear`.
        refuse: requests that match this are answered with `status` and an echo of their token.
        status: of these answers.
    """

    def __init__(self):
        self.repositories, self.asked = {}, []
        self.refuse, self.status = None, 403
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                hub._answer(self)

            do_HEAD = do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def clear(self):
        self.asked.clear()
        self.refuse = None

    def _answer(self, request):
        path = unquote(urlsplit(request.path).path)
        asked = f"{request.command} {path}"
        self.asked.append(asked)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            if self.refuse and re.search(self.refuse, asked):
                raise Refused(
                    self.status, "", f"no to {token} at https://me:{token}@host/?s={token}"
                )
            status, headers, data = self._route(request.command, path, body, token == TOKEN)
        except Refused as refused:
            status, code, message = refused.args
            headers = {"X-Error-Code": code, "X-Error-Message": message}
            data = json.dumps({"url": f"{self.url}/owner/name"}).encode()
        request.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def _route(self, method, path, body, is_known):
        if path == "/api/validate-yaml":
            status = 200 if _is_card(json.loads(body)["content"]) else 400
            return _json({"errors": []}, status)
        if method == "POST" and not is_known:
            raise Refused(401, "", "Invalid username or password.")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        found = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+)(?:/(\w+)/([^/]+)(?:/(.+))?)?", path)
        name, what, revision, file = found.groups() if found else ("", "", "", "")
        repository = self.repositories.get(name)
        if repository is None or (repository.private and not is_known):
            raise Refused(404 if is_known else 401, "RepoNotFound", "Repository not found")
        if what == "branch":
            if revision in repository.refs:
                raise Refused(409, "", "Reference already exists")
            repository.refs[revision] = repository.refs["main"]
            return _json({})
        sha = repository.resolve(revision or "main")
        if sha is None:
            raise Refused(404, "RevisionNotFound", "Invalid rev id")
        if what == "commit":
            sha = repository.commit(revision, _changed(repository.commits[sha], body))
            return _json({"commitUrl": f"{self.url}/{name}/commit/{sha}", "commitOid": sha})
        if what == "preupload":
            wanted = json.loads(body)["files"]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            return _json({"files": [{"path": file["path"], **modes} for file in wanted]})
        if what == "resolve":
            data = repository.commits[sha].get(file)
            if data is None:
                raise Refused(404, "EntryNotFound", "Entry not found")
            return 200, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": sha}, data
        listed = [
            {"rfilename": file, "size": len(data), "blobId": _oid(data)}
            for file, data in repository.commits[sha].items()
        ]
        private = repository.private
        return _json({"id": name, "sha": sha, "private": private, "siblings": listed})

    def _create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.repositories:
            raise Refused(409, "", "You already created this model repo")
        self.repositories[name] = made = Repository(wanted.get("visibility") == "private")
        made.commit("main", dict(FIRST))
        return _json({"url": f"{self.url}/{name}"})


def _oid(data):
    return hashlib.sha1(data).hexdigest()


def _json(values, status=200):
    return status, {"Content-Type": "application/json"}, json.dumps(values).encode()


def _is_card(text):
    head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return head is not None and isinstance(yaml.safe_load(head[1]), dict)


def _changed(files, body):
    """The files after a commit, of which each line is a change."""
    files = dict(files)
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "deletedFile":
            del files[value["path"]]
        else:
            assert line["key"] == "header", line
    return files


def point_library_at(hub, monkeypatch, home):
    """Has huggingface_hub, in this process and its children, ask this hub, with its token."""
    from huggingface_hub import constants

    values = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(home)}
    for name, value in {**values, "HF_HUB_DISABLE_TELEMETRY": "1"}.items():
        monkeypatch.setenv(name, value)
    # The library has read the environment of this process already.
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
