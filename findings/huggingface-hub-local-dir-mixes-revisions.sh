#!/usr/bin/env bash
# snapshot_download(local_dir=...) of huggingface_hub mixes revisions, and gives an old one for a new one that it cannot have.
#
# Into one folder it downloads one revision after the other, and leaves there what the newer one has no more: a program that
# looks whether a file is there (an optional config, a shard) finds one of another commit. And where the Hub does not
# answer, or says that there is no such repository (any more), the call returns the folder as it is, whatever revision was
# downloaded into it last, with a warning in the log and no exception: even for a commit's full hash, which one takes for
# a guarantee. An empty folder raises. A folder for each commit, that is there whole or not at all, avoids all of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "huggingface_hub==2.4.0"
cat > "$folder/hub.py" <<'PY'
"""A Hub with one repository of two revisions: v1 has config.json and adapter.json, v2 only config.json."""
import hashlib, http.server, json, os, sys, threading

FILES = {"v1": {"config.json": b"1", "adapter.json": b"1"}, "v2": {"config.json": b"2"}}
COMMITS = {"v1": "1" * 40, "v2": "2" * 40}
GONE = []


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition("?")[0].strip("/").split("/")
        name = next((name for name, commit in COMMITS.items() if {name, commit} & {*path}), None)
        if GONE or name is None:
            return self.send(404, X_Error_Code="RepoNotFound")
        files = FILES[name]
        if "revision" in path:
            about = {"id": "a/b", "sha": COMMITS[name], "siblings": [{"rfilename": file} for file in files]}
            return self.send(200, json.dumps(about).encode())
        if "tree" in path:
            rows = [{"type": "file", "path": f, "size": len(d), "oid": "0" * 40} for f, d in files.items()]
            return self.send(200, json.dumps(rows).encode())
        data = files[path[-1]]
        self.send(200, data, X_Repo_Commit=COMMITS[name], ETag=f'"{hashlib.sha1(data).hexdigest()}"')

    do_HEAD = do_GET


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": f"{sys.argv[1]}/home"}
os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

import huggingface_hub

print("huggingface_hub", huggingface_hub.__version__)
place = f"{sys.argv[1]}/model"


def get(revision, place=place):
    try:
        folder = huggingface_hub.snapshot_download("a/b", revision=revision, local_dir=place)
    except Exception as error:
        return type(error).__name__
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    return {name: open(f"{folder}/{name}").read() for name in names}


print("v1:", get("v1"))
mixed = get("v2")
print("v2 into the same folder:", mixed)
GONE.append(True)
stale, empty, exact = get("v1"), get("v1", f"{sys.argv[1]}/other"), get(COMMITS["v1"])
print("v1 again, of a repository that is gone:", stale)
print("the same into an empty folder:", empty)
print("the same by v1's full hash:", exact)
assert mixed == {"config.json": "2", "adapter.json": "1"}, "what v2 has not is removed now"
assert stale == mixed, "a repository that is gone is an error now"
assert exact == mixed, "a full hash is an error now, where its files are not there"
assert empty == "RepositoryNotFoundError", empty
print("as described: a folder of two revisions, and the newer one returned for the older")
PY
"$folder/venv/bin/python" "$folder/hub.py" "$folder" 2>/dev/null
