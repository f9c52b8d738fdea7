"""Families declared in TOML files: what they build, and where mistakes in them are said to be."""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.env_runner import registry
from ssm_metarl.env_runner import spaces as units
from ssm_metarl.env_runner.family_file import parse_family
from ssm_metarl.env_runner.probe import probe
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.toml_lines import line_of
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate
from ssm_metarl.training import validation

EXAMPLES = Path(__file__).parents[2] / "examples" / "families"
TINY: dict[str, Any] = {
    **{"mode": "rl2", "num_epochs": 2, "tasks_per_epoch": 2, "episodes_per_trial": 2},
    **{"first_steps": 6, "query_steps": 6, "validate_every": 2, "validation_tasks": 1},
    **{"width": 8, "state_size": 4, "blocks": 1},
}
POLE = """
name = "Pole"
env_id = "CartPole-v1"

[parameters.mass]
attribute = "masscart"
low = 0.5
high = 2.0
"""
ROD = """
name = "Rod"
env_id = "Pendulum-v1"
reward = "-abs(observation[2] - speed) - 0.1 * reward"
success = "observation[0] > threshold and not terminated"

[arguments]
g = 9.0

[[wrappers]]
name = "ActionDelay"

[parameters]
speed = { low = -4.0, high = 4.0, default = 2.0 }
threshold = { default = 0.5 }

[parameters.delay]
wrapper = "ActionDelay.steps"
choices = [0, 1, 2]

[parameters.length]
attribute = "l"
scaled = true
low = 0.5
high = 2.0
"""


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    yield
    registry._REGISTERED.clear()


def family_of(text: str, **options: bool) -> sm.TaskFamily:
    return parse_family(text, "my.toml", **options)


@pytest.mark.filterwarnings("ignore:.*WARN")
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_an_agent_of_each_example_is_trained_and_evaluated(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        family = sm.read_family(path)
    except sm.UserError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))
    check_env(sm.make(family, family.held_out(1)[0]), skip_render_check=True)
    short = dataclasses.replace(family, max_episode_steps=min(family.max_episode_steps, 20))
    sm.register(short)  # a warning, as of a parameter that changes nothing, would fail the test
    monkeypatch.setattr(units, "LANES", 2)
    monkeypatch.setattr(units, "STEPS", 10)
    monkeypatch.setattr(validation, "EPISODES", 1)
    list(sm.train(sm.TrainConfig(env_name=family.name, **TINY), tmp_path / "run"))
    plan = EvaluationPlan(("in_context",), return_episodes=1, trial_episodes=1)
    tasks, agent = family.held_out(1), sm.load(tmp_path / "run")
    results = [one.result for one in evaluate(agent, short, tasks, plan)]
    assert np.isfinite([result.per_task for result in results]).all()


def test_cartpole_by_attributes_is_our_own() -> None:
    mine, ours = sm.read_family(EXAMPLES / "cartpole.toml"), get_family("CartPole-v1")
    env = sm.make(mine, {"cart_mass": 1.7, "pole_mass": 0.3, "half_length": 0.9, "sign": -1.0})
    values = {"cart_mass": 1.7, "pole_mass": 0.3, "length": 0.9, "swap": 1.0}
    other = sm.make(ours, values)
    for episode in range(2):  # what was set outlives a reset
        seen = env.reset(seed=episode)[0], other.reset(seed=episode)[0]
        for _ in range(20):
            np.testing.assert_array_equal(*seen)
            steps = env.step(1), other.step(1)
            seen = steps[0][0], steps[1][0]
            assert steps[0][1:4] == steps[1][1:4]
            if steps[0][2]:
                break


def test_everything_goes_where_the_file_says() -> None:
    family = family_of(ROD)
    assert family.max_episode_steps == 200
    assert family.nominal().describe(0) == "speed=2, threshold=0.5, delay=0, length=1.25"
    env = sm.make(family, {"delay": 1, "length": 2.0, "speed": 3.0})
    world: Any = env.unwrapped
    assert (world.g, world.l) == (9.0, 2.0)  # twice the usual length, 1
    plain = gymnasium.make("Pendulum-v1", g=9.0)
    plain.unwrapped.l = 2.0  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(env.reset(seed=1)[0], plain.reset(seed=1)[0])
    actions = [np.full(1, value, np.float32) for value in (0.0, 1.5, -2.0, 0.5)]
    for late, action in itertools.pairwise(actions):
        observation, reward, _, _, info = env.step(action)
        expected, paid, *_ = plain.step(late)  # the idle action first, then each one step later
        np.testing.assert_array_equal(observation, expected)
        assert reward == pytest.approx(-abs(float(expected[2]) - 3.0) - 0.1 * float(paid))
        assert info["success"] == float(expected[0] > 0.5)


def test_lanes_have_their_own_values_after_every_reset() -> None:
    family = family_of(ROD)
    tasks = family.sample(3, SeedSequence(0))
    env: Any = family.make_vec(tasks, 2, autoreset=True, horizon=2)
    env.reset(SeedSequence(0))
    lengths = [one.unwrapped.l for one in env._lanes._envs]
    np.testing.assert_array_equal(lengths, tasks.values["length"].repeat(2))


def test_a_family_suggests_settings_to_a_learner() -> None:
    family = family_of(POLE + "[settings.rl2]\nnum_epochs = 7\n")
    configs = [sm.TrainConfig(mode=mode, env_name="Pole") for mode in ("rl2", "meta_rl")]
    assert [config.resolve(family).num_epochs for config in configs] == [7, 40]
    assert sm.TrainConfig(mode="rl2", num_epochs=3).resolve(family).num_epochs == 3
    wrong = {"num_epoch = 7": "did you mean 'num_epochs'", "seed = 7": "suggests 'seed' to rl2"}
    for line, words in {**wrong, "num_epochs = 0": "num_epochs is 0; it must be"}.items():
        family = family_of(f"{POLE}[settings.rl2]\n{line}\n")
        with pytest.raises(sm.UserError, match=words):
            configs[0].resolve(family)


class Restores(gymnasium.Env):
    """Every reset puts back what was set, and a copy is handed out of what is inside."""

    observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.weights, self.label, self.count, self._secret = np.ones(2), "text", 3, 1.0

    @property
    def copied(self) -> np.ndarray:
        return self.weights.copy()

    @property
    def fixed(self) -> float:
        return 1.0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        self.weights = np.ones(2)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple:
        return self.weights[:1].astype(np.float32), 0.0, False, False, {"words": object()}


@pytest.fixture
def restores() -> Any:  # noqa: ANN401
    gymnasium.register("Restores-v0", entry_point=Restores, disable_env_checker=True)  # pyright: ignore
    yield
    del gymnasium.registry["Restores-v0"]


def restoring(place: str) -> sm.TaskFamily:
    return family_of(
        f'name = "R"\nenv_id = "Restores-v0"\n[parameters.weight]\nattribute = "{place}"\n'
        "low = 2.0\nhigh = 3.0\n"
    )


@pytest.mark.usefixtures("restores")
def test_what_reset_puts_back_is_set_again() -> None:
    family = restoring("weights.0")
    probe(family)
    env = sm.make(family, {"weight": 2.5})
    for _ in range(2):
        env.reset()
        assert env.step(0)[0] == 2.5


@pytest.mark.usefixtures("restores")
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("wieghts.0", "Restores has no 'wieghts'; did you mean 'weights'"),
        ("weights", r"has 2 numbers; valid: one of its numbers, weights.0 to weights.1"),
        ("weights.7", "ndarray has no '7'"),
        ("copied.0", "was set to 2.5 and reads 1: what the path leads to is a copy"),
        ("label", "is a str, not a number"),
        ("fixed", "cannot be set"),
        ("_secret", "has no '_secret'"),
        ("__class__.weight", "has no '__class__'"),
    ],
)
def test_attributes_that_cannot_be_set_are_refused(place: str, words: str) -> None:
    with pytest.raises(sm.UserError, match=words):
        probe(restoring(place))


def test_a_derived_constant_that_stays_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="Pole: mass: .* seems to change nothing"):
        probe(family_of(POLE))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name = ", 1, "is no TOML file: Invalid value .*line 1, the last"),
        (POLE.replace("env_id", "env"), 3, "env: unknown key; did you mean 'env_id'"),
        ('env_id = "CartPole-v1"', 1, "name is missing; valid: name = of the family"),
        (POLE.replace("CartPole-v1", "CartPol-v1"), 3, "env_id: .*did you mean 'CartPole-v1'"),
        (POLE.replace("CartPole-v1", "os:x-v0"), 3, "env_id: .*--trust-env-code allows"),
        (POLE.replace("low", "lwo"), 7, "parameters.mass.lwo: unknown key; did you mean 'low'"),
        (POLE.replace("0.5", '"a"'), 7, "parameters.mass.low: must be a number, got 'a'"),
        (POLE.replace("0.5", "true"), 7, "parameters.mass.low: must be a number, got True"),
        (POLE.replace("0.5", "5.0"), 7, "parameters.mass.low: .* must be below high, 2"),
        (POLE.replace("attribute", "argument"), 6, "takes no argument 'masscart'; .*sutton_barto"),
        (ROD.replace('attribute = "l"', 'argument = "g.l"').replace("scaled", "#"), 22, "no table"),
        (ROD.replace('attribute = "l"', 'argument = "g"').replace("scaled", "#"), 22, "set twice"),
        (POLE.replace("attribute", "model"), 6, "'masscart': unknown model field"),
        (POLE.replace("attribute", "wrapper"), 6, "no wrapper '' among the"),
        (POLE.replace('attribute = "masscart"', ""), 5, "mass: goes nowhere; valid: one of argu"),
        (POLE + 'argument = "x"', 5, "has argument and attribute; a parameter goes to one place"),
        (POLE.replace(".mass]", ".info]"), 5, "'info' has a meaning in formulas"),
        (POLE + "scaled = 2", 9, "scaled: must be true or false, got 2"),
        (ROD.replace("attribute", "argument").replace("scaled", "#"), 22, "no argument 'l'"),
        (ROD.replace("'", "") .replace("speed)", "sped)"), 4, "reward: .*unknown 'sped'; did you"),
        (ROD.replace("not terminated", "observation.sum()"), 5, "success: .*\\.sum cannot be used"),
        (ROD.replace('"ActionDelay"', '"ActionDealy"'), 11, "wrappers.1.name: .*did you mean 'Act"),
        (ROD.replace('"ActionDelay"', '"ActionDelay"\nstep = 2'), 12, "no argument 'step'; did"),
        (ROD.replace('"ActionDelay"', '"RecordVideo"'), 11, "unknown wrapper 'RecordVideo'"),
        (ROD.replace('"ActionDelay"', '"os:Class"'), 11, "--trust-env-code"),
        (ROD.replace("Delay.steps", "Delay.stesp"), 18, "parameters.delay.wrapper: .*'steps'"),
        (ROD.replace("g = 9.0", "gg = 9.0"), 8, "arguments.gg: Pendulum-v1 takes no argument"),
        (ROD.replace("g = 9.0", "render_mode = 'human'"), 8, "render_mode is no argument"),
        (ROD.replace("default = 2.0", "shifted = [[3.0, 1.0]]"), 14, "speed.shifted: .*is empty"),
        ("max_episode_steps = 0\n" + POLE, 1, "max_episode_steps: must be at least 1"),
        (POLE + "[settings]\nrl2 = 3", 10, "settings.rl2: must be a table, got 3"),
        (POLE + "[derived]\ntotal_mass = 3.0", 10, "derived.total_mass: must be a text with a"),
        (POLE + '[derived]\ntotal_mass = "maas + 1"', 10, "derived.total_mass: .*'mass'"),
    ],
)  # fmt: skip
def test_mistakes_are_said_by_file_line_and_key(text: str, line: int, words: str) -> None:
    with pytest.raises(sm.UserError) as caught:
        family_of(text)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(words, message), message
    assert message.startswith(f"my.toml:{line}: ") or "no TOML file" in message, message


def test_lines_are_found_in_any_style() -> None:
    text = (
        '"a" = 1\nb.c = 2\n[d]\n# e = 0\ne = {f = 3}\n[[g]]\nh = 1\n[[g]]\nh = 2\n[d."i j"]\nk = 1'
    )
    places = [("a",), ("b", "c"), ("d",), ("d", "e", "f"), ("g", 0, "h"), ("g", 1, "h")]
    assert [line_of(text, place) for place in places] == [1, 2, 3, 5, 7, 9]
    assert [line_of(text, place) for place in [("d", "i j", "k"), ("none",)]] == [11, 1]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sm.UserError, match=r"no.toml cannot be read: No such file"):
        sm.read_family(tmp_path / "no.toml")
    (tmp_path / "large.toml").write_text("#" * 100_001)
    with pytest.raises(sm.UserError, match="larger than 100000 bytes"):
        sm.read_family(tmp_path / "large.toml")


def test_trusted_wrappers_are_imported() -> None:
    text = ROD.replace('"ActionDelay"', '"gymnasium.wrappers:ClipAction"')
    text = text.replace("wrapper =", "#").replace("[parameters.delay]", "[parameters.threshold2]")
    with pytest.raises(sm.UserError, match="threshold2: goes nowhere"):
        family_of(text, trust_env_code=True)
    with pytest.raises(sm.UserError, match="'no_module:X' cannot be imported"):
        family_of(text.replace("gymnasium.wrappers:ClipAction", "no_module:X"), trust_env_code=True)
