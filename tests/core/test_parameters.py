"""Leaves name every parameter, and filters over them split parameters and put them together."""

import pytest
import torch

from ssm_metarl.core.parameters import combine, expand_tasks, in_groups, partition
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.errors import UserError

CONTINUOUS = Spaces((1.0, 2.0, 0.5), 2, False, (-2.0, -1.0), (2.0, 3.0))


def test_leaves_give_the_group_and_the_shape_of_every_parameter() -> None:
    policy = Policy(PolicyConfig(cell="gru", width=8, state_size=4, norm=True), CONTINUOUS)
    params = policy.init(torch.Generator().manual_seed(0))
    assert {name: leaf.shape for name, leaf in policy.leaves.items()} == {
        name: tuple(value.shape) for name, value in params.items()
    }
    assert all(name == leaf.name for name, leaf in policy.leaves.items())
    for name, leaf in policy.leaves.items():
        first = name.split(".")[0]
        assert leaf.group == ("cell" if first == "block0" else first), name
    groups = {leaf.group for leaf in policy.leaves.values()}
    assert groups == {"encoder", "cell", "action", "value", "prediction"}
    assert policy.leaves["action.log_std"].group == "action"
    assert policy.leaves["block0.norm"].group == "cell"


def test_parts_combine_to_the_whole() -> None:
    policy = Policy(PolicyConfig(width=8, state_size=4), CONTINUOUS)
    params = policy.init(torch.Generator().manual_seed(0))
    heads, rest = partition(params, policy.leaves, in_groups("value", "prediction"))
    assert set(heads) == {"value.weight", "value.bias", "prediction.weight", "prediction.bias"}
    assert not set(heads) & set(rest)
    together = combine(rest, heads)
    assert together.keys() == params.keys()
    assert all(together[name] is value for name, value in params.items())


def test_the_last_part_counts_where_names_repeat() -> None:
    one, two = torch.ones(1), torch.zeros(1)
    assert combine({"a": one, "b": one}, {"a": two}) == {"a": two, "b": one}


def test_expanded_parameters_are_the_same_for_every_task_and_not_copied() -> None:
    value = torch.randn(3, 2)
    (expanded,) = expand_tasks({"a": value}, 4).values()
    assert expanded.shape == (4, 3, 2)
    assert expanded.data_ptr() == value.data_ptr()
    assert torch.equal(expanded[2], value)


@pytest.mark.parametrize(
    ("field", "valid"), [("cell", "gated, gru, mlp, ssm"), ("encoder", "cnn, linear")]
)
def test_an_unknown_name_is_refused_with_those_there_are(field: str, valid: str) -> None:
    with pytest.raises(UserError, match=f"{field} cannot be 'lstm'; .*valid: {valid}"):
        PolicyConfig(**{field: "lstm"})
