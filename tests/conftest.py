"""Set up before any test module is imported: shape and type checks on, one thread."""

import functools
import inspect
import os
import shutil
from collections import Counter
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# A check costs more than most of what it checks, and a training calls the same functions thousands
# of times: of each function, the first calls in a test are checked, and then one in so many.
FIRST_CALLS, ONE_IN = 50, 25
CALLS: Counter[Callable] = Counter()


def checked_now_and_then(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that has ``check`` look at some calls of a function."""

    def decorate(subject: Any) -> Any:  # noqa: ANN401
        if inspect.isclass(subject):
            return check(subject)
        checked = functools.cache(lambda: check(subject))  # many are not called at all

        @functools.wraps(subject)
        def call(*args: object, **options: object) -> object:
            __tracebackhide__ = True
            CALLS[subject] += 1
            often = CALLS[subject] > FIRST_CALLS and CALLS[subject] % ONE_IN
            return (subject if often else checked())(*args, **options)

        return call

    return decorate


# Every annotation in the package is checked; outside the tests they are free.
jaxtyped = jaxtyping.jaxtyped
jaxtyping.jaxtyped = lambda **options: checked_now_and_then(jaxtyped(**options))  # pyright: ignore
jaxtyping.install_import_hook("ssm_metarl", "beartype.beartype")

torch.set_num_threads(1)

os.environ.setdefault("SSM_METARL_WORKERS", "0")  # a busy machine would start some


def pytest_runtest_setup() -> None:
    CALLS.clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow files, those with a browser first: short ones fill the workers' ends."""
    in_browser = {item.path for item in items if "browser" in getattr(item, "fixturenames", ())}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in in_browser, item.path not in slow))


class OnePage(LoadFileScheduling):
    """Gives each file to one worker, and all those of the page to the same: it starts slowly."""

    def _split_scope(self, nodeid: str) -> str:
        return "page" if nodeid.startswith("tests/ui/test_") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OnePage:
    return OnePage(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if shutil.which("chromium") is None:
        line = "NO BROWSER: the web page was not tested in one; install chromium (apt)"
        terminalreporter.write_line(line, red=True, bold=True)
