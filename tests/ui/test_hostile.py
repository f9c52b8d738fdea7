"""What somebody may send who does not use the page: each is answered with one line."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from visiting import Site

from ssm_metarl.commands.app import App
from ssm_metarl.errors import UserError
from ssm_metarl.ui.errors import SORRY, explained
from ssm_metarl.ui.store import PRETRAINED, RunStore, check_family

pytestmark = pytest.mark.slow
GOOD = {
    "run": "cartpole",
    "task": {"swap": 1.0},
    "modes": ["standard"],
    "episodes": 1,
    "steps": 1,
    "seed": 0,
}
IDS = (
    "../../etc",
    "/etc/passwd",
    "runs/x",
    "a" * 65,
    "",
    "CARTPOLE",
    "cartpole\n",
    "a\0b",
    3,
    None,
    ["cartpole"],
    {},
)


def refused(client: Client, **changes: Any) -> str:
    """Ask for something, and return the line it is refused with."""
    with pytest.raises((AppError, ValueError)) as caught:
        client.predict(**{**GOOD, **changes}, api_name="/adapt")
    line = str(caught.value)
    assert "Traceback" not in line
    assert "/work" not in line
    assert "site-packages" not in line
    return line


@pytest.mark.parametrize("run", IDS)
def test_ids_are_no_paths(client: Client, run: object) -> None:
    refused(client, run=run)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"task": {"gravity": 1e9}}, "gravity must be from"),
        ({"task": {"gravity": "9.8"}}, "gravity must be a number"),
        ({"task": {"__class__": 1}}, "no parameter"),
        ({"task": [1, 2]}, "a task is written as"),
        ({"modes": "standard"}, "modes is a list"),
        ({"modes": ["os.system"]}, "modes is a list"),
        ({"task": {"gravity": 10**400}}, "gravity must be from"),
        ({"episodes": "many"}, "episodes must be a whole number from 1 to 50"),
        ({"episodes": 0}, "episodes must be a whole number from 1 to 50"),
        ({"episodes": 2.5}, "episodes must be a whole number from 1 to 50"),
        ({"episodes": 10**400}, "episodes must be a whole number from 1 to 50"),
        ({"steps": None}, "steps must be a whole number from 1 to 3"),
        ({"seed": 1e30}, "seed must be a whole number from 0 to"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    client: Client, changes: dict[str, Any], says: str
) -> None:
    assert says in refused(client, **changes)


@pytest.mark.parametrize("data", ['"cartpole", {"gravity": NaN}', '"cartpole", {}, [], Infinity'])
def test_numbers_that_are_none_are_refused(site: Site, data: str) -> None:
    """The client would not send these, others may."""
    call = httpx.post(f"{site.url}/gradio_api/call/adapt", content=f'{{"data": [{data}]}}')
    if call.status_code == 200:
        asked = call.json()["event_id"]
        answer = httpx.get(f"{site.url}/gradio_api/call/adapt/{asked}", timeout=60).text
        assert "event: error" in answer
        assert "must be" in answer
    else:
        assert 400 <= call.status_code < 500


@pytest.mark.parametrize(
    ("endpoint", "asked", "says"),
    [
        ("compare", {"runs": ["cartpole"], "tasks": 2.5}, "tasks must be a whole number from 2"),
        ("memory", {"run": "cartpole", "episodes": 51}, "episodes must be a whole number from 1"),
        ("inside", {"run": "cartpole", "steps": 4}, "steps must be a whole number from 1 to 3"),
        ("train", {"name": "new", "iterations": 2.5}, "iterations must be a whole number from 1"),
        ("train", {"name": "new", "seed": 0.5}, "seed must be a whole number from 0 to"),
        ("train", {"name": "new", "inner_lr": 2}, "inner_lr must be a number from 1e-06 to 1.0"),
    ],
)
def test_every_endpoint_refuses_numbers_out_of_its_limits(
    client: Client, site: Site, endpoint: str, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(AppError, match=says):
        client.predict(**asked, api_name=f"/{endpoint}")
    assert not (site.runs / "new").exists()


def test_a_damaged_run_leaves_the_others_in_the_list(client: Client, site: Site) -> None:
    shutil.copytree(PRETRAINED / "cartpole", site.runs / "broken")
    (site.runs / "broken" / "checkpoint" / "checkpoint.json").write_text("{")
    try:
        listed = {one["run"] for one in client.predict(api_name="/list_agents")}
        assert listed >= {"cartpole", "cartpole-in-context"}
        assert "broken" not in listed
    finally:
        shutil.rmtree(site.runs / "broken")


def test_the_page_is_for_this_machine_alone(site: Site) -> None:
    port = f"{int(site.url.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [at.split(":") for _, at, _, state, *_ in lines if state == "0A"]
    assert [address for address, where in listening if where == port] == ["0100007F"]  # 127.0.0.1
    assert App().host == "127.0.0.1"


def test_links_are_no_runs(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(PRETRAINED / "cartpole", elsewhere)
    store = RunStore(tmp_path / "runs")
    store.runs.mkdir()
    (store.runs / "linked").symlink_to(elsewhere)
    (store.runs / "half").mkdir()
    (store.runs / "half" / "config.json").symlink_to(elsewhere / "config.json")
    assert not {"linked", "half"} & set(store.ids())
    for run in ("linked", "half"):
        with pytest.raises(UserError, match="there is no run"):
            store.folder(run)


@pytest.mark.parametrize("name", ["os:Env-v0", "Ant-v5", "", None, 3, "CartPole-v1 "])
def test_families_are_those_of_the_package(name: object) -> None:
    with pytest.raises(UserError, match="the page knows these families"):
        check_family(name)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("/srv/secret/runs/x is not a run"), "x is not a run"),
        (UserError(r"C:\Users\me\x.json: gone"), "x.json: gone"),
        (UserError("gravity must be from 0 to 50 m/s^2"), "gravity must be from 0 to 50 m/s^2"),
        (RuntimeError("/srv/secret"), SORRY),
        (UserError("<img src=x onerror=alert(1)>"), "&lt;img src=x onerror=alert(1)&gt;"),
    ],
)
def test_lines_name_no_paths(error: Exception, line: str) -> None:
    assert explained(error).message == line


@pytest.mark.parametrize("path", ["/etc/passwd", "pyproject.toml", "../app.py", "%2e%2e/app.py"])
def test_files_are_not_served(site: Site, path: str) -> None:
    for prefix in ("/gradio_api/file=", "/file=", "/static/", "/gradio_api/"):
        assert httpx.get(site.url + prefix + path).status_code in (401, 403, 404, 405)
