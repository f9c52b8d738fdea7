#!/usr/bin/env bash
# Trackio resumes by name, and of two runs of one name only the newer one.
#
# Each run has an id of its own, and resume="never" makes a second run of the same name beside the first. But init takes
# no id: resume="must" continues the newest run of that name. Whoever names runs after the last part of their folder
# (seed-0/run, seed-1/run) and resumes the first writes into the curves of the second, without a word. The metrics of
# the first run cannot be continued at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "trackio==0.43.0"
TRACKIO_DIR="$folder/data" "$folder/venv/bin/python" - 2>/dev/null <<'PY'
import contextlib
import glob
import io
import os
import sqlite3

import trackio

print("trackio", trackio.__version__)
for value, resume in ((1.0, "never"), (2.0, "never"), (3.0, "must")):
    with contextlib.redirect_stdout(io.StringIO()):
        trackio.init(project="p", name="run", resume=resume)
        trackio.log({"value": value})
        trackio.finish()
(path,) = glob.glob(os.path.join(os.environ["TRACKIO_DIR"], "*.db"))
ids = [row[0] for row in sqlite3.connect(path).execute("select run_id from metrics order by id")]
first, second, resumed = ids
print("ids of the runs that got the values 1, 2, 3:", ["first", "second", {first: "first", second: "second"}.get(resumed, "a third")])
assert first != second, "the second run of that name is the first one now"
assert resumed == second, "resume no longer continues the newest run of the name"
print('as described: resume="must" continued the second run of the name, whichever was meant')
PY
