"""Several steps as one function: the numbers of single steps, compiled or not."""

import logging
import subprocess
import sys
import textwrap

import pytest
import torch
from failing import SOME
from numpy.random import SeedSequence

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner import compiled
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes, collect_trials
from ssm_metarl.env_runner.spaces import policy_spaces

SEED = SeedSequence(3)
NATIVE = [family.name for family in list_families() if family.simulator is not None]


def assert_equal(found: Trajectory, expected: Trajectory) -> None:
    for name, value in vars(expected).items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(getattr(found, name), value, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("trials", [False, True])
@pytest.mark.parametrize("name", NATIVE)
def test_several_steps_equal_single_ones(
    name: str, trials: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def uncompiled(device: str) -> object:
        calls.append(device)
        return compiled.advance

    monkeypatch.setattr(compiled, "compiled", uncompiled)
    family = get_family(name)
    config = PolicyConfig(width=8, state_size=4, trial_inputs=trials)
    policy = Policy(config, policy_spaces(family))
    bound = policy.bind(policy.init(torch.Generator().manual_seed(0)))
    found, expected = (
        (
            collect_trials(bound, environment, SEED, 2, compiled=several)
            if trials
            else collect_episodes(bound, environment, SEED, compiled=several)
        )
        for several in (True, False)
        # 75 steps: across a block of random numbers, and no multiple of the steps at once
        for environment in [family.make_vec(family.held_out(2), 3, autoreset=trials, horizon=75)]
    )
    assert calls
    assert_equal(found, expected)


def test_a_step_of_ones_own_is_taken() -> None:
    tasks = SOME.held_out(3)
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(SOME))
    bound = policy.bind(policy.init(torch.Generator().manual_seed(0)))
    found, expected = (
        collect_trials(bound, environment, SEED, 2, compiled=several)
        for several in (True, False)
        for environment in [SOME.make_vec(tasks, 3, autoreset=True)]
    )
    assert not expected.valid.all()  # episodes that failed, of which only its step knows
    assert_equal(found, expected)


def test_what_cannot_be_compiled_is_not(caplog: pytest.LogCaptureFixture) -> None:
    compiled.compiled.cache_clear()
    caplog.set_level(logging.INFO)
    family = get_family("CartPole-v1")
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(family))
    bound = policy.bind(policy.init(torch.Generator().manual_seed(0)))
    found, expected = (
        collect_episodes(bound, environment, SEED, compiled=several)
        for several in (True, False)
        for environment in [family.make_vec(family.nominal(), 2, autoreset=False, horizon=30)]
    )  # in these tests every function checks types, which the compiler does not know
    assert_equal(found, expected)
    assert caplog.text.count("not compiled after all: ") == 1
    compiled.compiled.cache_clear()


def test_auto_compiles_long_trainings_where_there_is_a_compiler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert compiled.wanted("on", 1)
    assert compiled.wanted("auto", compiled.WORTH_IT)
    assert not compiled.wanted("auto", compiled.WORTH_IT - 1)
    assert not compiled.wanted("off", 10 * compiled.WORTH_IT)
    assert not compiled.wanted("auto", compiled.WORTH_IT, units_change=True)
    assert not compiled.wanted("on", 1, units_change=True)
    assert "nothing is compiled: --norm_obs and" in caplog.text
    caplog.clear()
    assert not compiled.wanted("auto", compiled.WORTH_IT, native=False)
    assert not caplog.text
    assert not compiled.wanted("on", 1, native=False, units_change=True)
    assert "nothing is compiled: only native environments" in caplog.text
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not compiled.wanted("on", 1)
    assert "nothing is compiled: there is no C++ compiler no-such-compiler" in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(not compiled.wanted("on", 1), reason="there is no C++ compiler")
def test_compiled_steps_equal_others_to_rounding() -> None:
    program = """
        import torch
        from numpy.random import SeedSequence
        from ssm_metarl.core.policy import Policy, PolicyConfig
        from ssm_metarl.env_runner.registry import get_family
        from ssm_metarl.env_runner.rollout import collect_trials
        from ssm_metarl.env_runner.spaces import policy_spaces

        family = get_family("CartPole-v1")
        policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(family))
        bound = policy.bind(policy.init(torch.Generator().manual_seed(0)))
        a, b = (
            collect_trials(bound, environment, SeedSequence(0), 2, compiled=several)
            for several in (True, False)
            for environment in [family.make_vec(family.held_out(2), 3, autoreset=True)]
        )
        assert torch.equal(a.action, b.action)
        torch.testing.assert_close(a.log_prob, b.log_prob, rtol=0.0, atol=1e-5)
        torch.testing.assert_close(a.observation, b.observation, rtol=0.0, atol=1e-4)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "not compiled" not in done.stderr
