"""What one of several processes sends and makes of the answers; the test plays the others."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist

from ssm_metarl.core import processes
from ssm_metarl.errors import SsmMetaRLError, UserError

GROUP: Any = object()


@pytest.fixture(autouse=True)
def no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "MASTER_ADDR", processes.MEETING):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_group", [GROUP])
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What torch is asked for, instead of doing it."""
    found: list[tuple] = []

    def recording(name: str, answer: object = None) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            found.append((name, *args, *options.items()))
            return answer

        return call

    for name in ("init_process_group", "barrier", "destroy_process_group"):
        monkeypatch.setattr(dist, name, recording(name))
    monkeypatch.setattr(dist, "new_group", recording("new_group", GROUP))
    monkeypatch.setattr(torch.cuda, "set_device", recording("set_device"))
    monkeypatch.setattr(processes, "_group", [])
    return found


def test_alone_nothing_is_sent_and_everything_is_done_here(calls: list[tuple]) -> None:
    one = torch.zeros(2, requires_grad=True)
    one.grad = torch.ones(2)
    processes.join("cpu")
    assert (processes.world_size(), processes.size(), processes.rank()) == (1, 1, 0)
    assert processes.my_part(5) == slice(0, 5)
    assert processes.gathered("own") == ["own"]
    assert processes.sum_gradients([one], 2.5) == 2.5
    assert one.grad.tolist() == [1.0, 1.0]
    processes.leave()
    assert calls == []


@pytest.mark.usefixtures("second_of_two")
def test_what_each_process_has_is_in_the_order_of_their_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(parts: list, part: str, group: object) -> None:
        assert group is GROUP
        assert len(parts) == 2
        parts[:] = ["other", part]

    monkeypatch.setattr(dist, "all_gather_object", answer)
    assert (processes.size(), processes.rank()) == (2, 1)
    assert processes.gathered("own") == ["other", "own"]


@pytest.mark.usefixtures("second_of_two")
def test_gradients_and_losses_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[torch.Tensor] = []

    def send(message: torch.Tensor, group: object) -> None:
        assert group is GROUP
        sent.append(message.clone())

    def receive(message: torch.Tensor, group: object) -> None:
        assert group is GROUP
        message += sent[0]

    def tensors(*grads: torch.Tensor | None) -> list[torch.Tensor]:
        made = [torch.zeros(shape, dtype=torch.float64) for shape in ((2, 3), (4,), (), (1, 2))]
        for one, grad in zip(made, grads, strict=True):
            one.grad = grad
        return made

    numbers = torch.arange(6.0, dtype=torch.float64)
    theirs = tensors(numbers.view(3, 2).mT, numbers[2:], None, None)
    mine = tensors(torch.ones_like(theirs[0]), None, numbers[5], None)
    monkeypatch.setattr(dist, "all_reduce", send)
    assert processes.sum_gradients(iter(theirs), 0.5) == 0.5
    monkeypatch.setattr(dist, "all_reduce", receive)
    assert processes.sum_gradients(iter(mine), 1.25) == 1.75
    found = [None if one.grad is None else one.grad.tolist() for one in mine]
    assert found == [[[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]], [2.0, 3.0, 4.0, 5.0], 5.0, None]
    assert sent[0].dtype == torch.float64


@pytest.mark.usefixtures("second_of_two")
@pytest.mark.parametrize("exchange", ["all_reduce", "all_gather_object"])
def test_a_process_that_has_ended_is_an_error(
    exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Connection\n  closed")

    monkeypatch.setattr(dist, exchange, fail)
    one = torch.zeros(1, requires_grad=True)
    expected = "^another process has ended or is out of reach: Connection closed$"
    with pytest.raises(SsmMetaRLError, match=expected):
        processes.gathered(1) if "gather" in exchange else processes.sum_gradients([one], 0.0)


@pytest.mark.parametrize(
    ("device", "seconds", "backend"),
    [("cpu", None, "gloo"), ("cuda", "7", "cpu:gloo,cuda:nccl")],
)
def test_processes_meet_once_and_part(
    device: str,
    seconds: str | None,
    backend: str,
    calls: list[tuple],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"WORLD_SIZE": " 2 ", "MASTER_ADDR": "here", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    if seconds:
        monkeypatch.setenv(processes.MEETING, seconds)
    processes.join(device)
    processes.join(device)
    processes.leave()
    processes.leave()
    assert calls == [
        *([("set_device", 1)] if device == "cuda" else []),
        ("init_process_group", backend, ("timeout", timedelta(seconds=int(seconds or 120)))),
        ("barrier",),
        ("new_group", ("timeout", timedelta(hours=1))),
        ("destroy_process_group",),
    ]


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_who_was_to_meet_where_is_said(
    kind: type[Exception], calls: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind("timed\n out")

    monkeypatch.setattr(dist, "init_process_group", fail)
    for name, value in {"WORLD_SIZE": "3", "MASTER_ADDR": "there", "MASTER_PORT": "29"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(processes.MEETING, "1")
    expected = "^3 processes were to meet at there:29 within 1 s, which failed: timed out$"
    with pytest.raises(UserError, match=expected):
        processes.join("cpu")
    assert processes.size() == 1
    assert calls == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'; valid: a whole number from 1 on"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but MASTER_ADDR is not set; valid: .* torchrun"),
        ({processes.MEETING: "nan"}, "SSM_METARL_MEETING_SECONDS is 'nan'"),
    ],
)
def test_bad_variables_are_named(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=expected):
        processes.join("cpu")


def test_one_process_needs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert processes.world_size() == 1


def test_parts_cover_all_tasks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 2, 3, 7):
        monkeypatch.setattr(processes, "size", lambda size=size: size)
        parts = []
        for rank in range(size):
            monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
            parts += list(range(10))[processes.my_part(10)]
        assert parts == list(range(10))
