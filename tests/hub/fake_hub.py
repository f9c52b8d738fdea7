"""The part of the Hugging Face Hub's HTTP API that pushing and loading use, on this machine.

It answers as the Hub does, so that huggingface_hub itself is under test: errors have its status
codes and headers, ``.safetensors`` go through Git LFS, a commit is refused where its parent is not
the newest one, and the card's metadata has to be YAML.
"""

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

USERS = {f"Bearer hf_{name}": name for name in ("somebody", "reader", "user")}
NO_COMMIT = "0" * 40


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {NO_COMMIT: {}})
    refs: dict[str, str] = field(default_factory=lambda: {"main": NO_COMMIT})

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.refs["main"]]

    def commit(self, files: Mapping[str, bytes]) -> str:
        count = len(self.commits)
        sha = hashlib.sha1(f"{count} {sorted(files)}".encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.refs["main"] = sha
        return sha


class FakeHub:
    """A server that runs in a thread.

    Attributes:
        repositories: By their names.
        asked: Method and path of each request, in order.
        sizes: What it says of the sizes of files, where that is not the truth.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.sizes: dict[str, int] = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def put(self, name: str, files: Mapping[str, bytes], *, private: bool = False) -> str:
        """Make a commit as if somebody had pushed it; return it."""
        return self.repositories.setdefault(name, Repository(private)).commit(files)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Answer(Exception):
    def __init__(self, status: int, body: Any = None, **headers: str) -> None:  # noqa: ANN401
        self.status, self.headers = status, headers
        self.body = body if isinstance(body, bytes) else json.dumps(body or {}).encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        self.content = self._read()
        try:
            self._route([part for part in path.split("/") if part])
        except _Answer as answer:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    @property
    def user(self) -> str | None:
        return USERS.get(self.headers.get("Authorization", ""))

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.content)

    def _route(self, path: list[str]) -> None:
        match path:
            case ["api", "repos", "create"]:
                self._create()
            case ["api", "validate-yaml"]:
                yaml.safe_load(self.json["content"].split("---\n")[1])
                raise _Answer(200, {"errors": [], "warnings": []})
            case ["api", "models", owner, name]:
                self._info(f"{owner}/{name}", "main")
            case ["api", "models", owner, name, "revision", *revision]:
                self._info(f"{owner}/{name}", "/".join(revision))
            case ["api", "models", owner, name, "preupload", _]:
                self._find(f"{owner}/{name}")
                raise _Answer(
                    200, {"files": [self._upload_mode(each) for each in self.json["files"]]}
                )
            case ["api", "models", owner, name, "commit", _]:
                self._commit(f"{owner}/{name}")
            case [_, _, "info", "lfs", "objects", "batch"]:
                raise _Answer(200, {"transfer": "basic", "objects": self._places()})
            case ["blobs", oid]:
                assert hashlib.sha256(self.content).hexdigest() == oid
                self.hub.blobs[oid] = self.content
                raise _Answer(200)
            case [owner, name, "resolve", revision, *file]:
                self._file(f"{owner}/{name}", revision, "/".join(file))
        raise _Answer(404)

    def _find(self, name: str, revision: str = "main") -> tuple[Repository, str]:
        repository = self.hub.repositories.get(name)
        if not repository or (repository.private and self.user != name.partition("/")[0]):
            raise _Answer(404 if self.user else 401, X_Error_Code="RepoNotFound")
        sha = repository.refs.get(revision, revision)
        if sha not in repository.commits:
            raise _Answer(404, X_Error_Code="RevisionNotFound")
        return repository, sha

    def _check_writer(self, name: str) -> None:
        if self.user != name.partition("/")[0]:
            raise _Answer(403 if self.user else 401, X_Error_Message="You don't have the rights")

    def _create(self) -> None:
        asked = self.json
        name = f"{asked.get('organization') or self.user}/{asked['name']}"
        self._check_writer(name)
        if name in self.hub.repositories:
            raise _Answer(409)
        private = asked.get("private", False) or asked.get("visibility") == "private"  # 1.x, 2.x
        self.hub.repositories[name] = Repository(private)
        raise _Answer(200, {"url": f"{self.hub.url}/{name}", "name": name})

    def _info(self, name: str, revision: str) -> None:
        repository, sha = self._find(name, revision)
        siblings = [
            {"rfilename": file, "size": self.hub.sizes.get(file, len(data)), "blobId": "0" * 40}
            for file, data in repository.commits[sha].items()
        ]
        about = {"id": name, "sha": sha, "private": repository.private, "siblings": siblings}
        raise _Answer(200, {**about, "tags": [], "downloads": 0, "likes": 0})

    def _upload_mode(self, file: Mapping[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["path"].endswith(".safetensors") else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def _places(self) -> list[dict[str, Any]]:
        return [
            {**each, "actions": {"upload": {"href": f"{self.hub.url}/blobs/{each['oid']}"}}}
            for each in self.json["objects"]
        ]

    def _commit(self, name: str) -> None:
        repository, _ = self._find(name)
        self._check_writer(name)
        files = dict(repository.files)
        for line in self.content.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "header" if (
                    value.get("parentCommit", repository.refs["main"]) != (repository.refs["main"])
                ):
                    raise _Answer(412, X_Error_Message="A commit has happened since")
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.blobs[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        sha = repository.commit(files)
        raise _Answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha})

    def _file(self, name: str, revision: str, file: str) -> None:
        repository, sha = self._find(name, revision)
        if file not in repository.commits[sha]:
            raise _Answer(404, X_Error_Code="EntryNotFound")
        data = repository.commits[sha][file]
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        raise _Answer(200, data, X_Repo_Commit=sha, ETag=tag)
