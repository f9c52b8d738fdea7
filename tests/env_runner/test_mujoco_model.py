"""Changing a MuJoCo model by names: equal to compiling it so, and every wrong name is one line."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from ssm_metarl.env_runner.mujoco_model import ModelField as Field
from ssm_metarl.env_runner.mujoco_model import apply, change, version_of
from ssm_metarl.errors import UserError

mujoco = pytest.importorskip("mujoco")

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"


def model_of(name: str) -> "mujoco.MjModel":
    return mujoco.MjModel.from_xml_path(str(ASSETS / f"{name}.xml"))


def differences(mine: "mujoco.MjModel", theirs: "mujoco.MjModel") -> list[str]:
    names = [name for name in dir(mine) if isinstance(getattr(mine, name), np.ndarray)]
    return [
        name for name in names if not np.array_equal(getattr(mine, name), getattr(theirs, name))
    ]


@pytest.mark.parametrize(
    ("robot", "body"),
    [
        ("hopper", "torso"),
        ("walker2d_v5", "foot"),
        ("ant", "torso"),
        ("humanoid", "pelvis"),
        ("pusher_v5", "object"),  # MuJoCo marks it simple: mass alone would not move differently
    ],
)
def test_a_scaled_mass_is_bitwise_the_robot_compiled_denser(robot: str, body: str) -> None:
    model, stale, nominal = model_of(robot), model_of(robot), model_of(robot)
    apply(model, f"body_mass[{body}]", 4.0, scaled=True)
    change(stale, Field("body_mass", body), 4.0, scaled=True)
    spec = mujoco.MjSpec.from_file(str(ASSETS / f"{robot}.xml"))
    for geom in spec.body(body).geoms:
        geom.density *= 4.0
        geom.mass *= 4.0  # where it is given
    compiled = spec.compile()
    assert differences(model, compiled) == []
    assert "dof_M0" in differences(stale, compiled)
    assert "body_inertia" in differences(model, nominal)


def test_cheetah_gets_heavier_although_its_file_fixes_the_total_mass() -> None:
    model, nominal = model_of("half_cheetah"), model_of("half_cheetah")
    apply(model, "body_mass", 3.0, scaled=True)
    assert model.body_mass.sum() == pytest.approx(3.0 * 14.0)
    np.testing.assert_allclose(model.body_inertia, 3.0 * nominal.body_inertia, rtol=1e-14)


def test_all_elements_include_the_floor_and_one_component_leaves_the_others() -> None:
    model, nominal = model_of("hopper"), model_of("hopper")
    apply(model, "geom_friction[*].0", 0.5, scaled=True)
    np.testing.assert_array_equal(model.geom_friction[:, 0], 0.5 * nominal.geom_friction[:, 0])
    np.testing.assert_array_equal(model.geom_friction[:, 1:], nominal.geom_friction[:, 1:])
    assert model.geom("floor").friction[0] == 0.5


def test_elements_by_name_of_joint_and_index() -> None:
    model = model_of("half_cheetah")
    apply(model, "dof_damping[bfoot]", 7.0, scaled=False)
    assert model.dof_damping[model.joint("bfoot").dofadr[0]] == 7.0
    apply(model, "actuator_gear[bfoot]", 0.0, scaled=False)
    assert model.actuator("bfoot").gear.tolist() == [0.0] * 6
    apply(model, "actuator_gear[5]", 2.0, scaled=True)
    assert model.actuator("ffoot").gear[0] == 60.0
    apply(model, "opt.gravity.2", -3.7, scaled=False)
    assert model.opt.gravity.tolist() == [0.0, 0.0, -3.7]
    apply(model, "opt.timestep", 0.5, scaled=True)
    assert model.opt.timestep == 0.005
    ant = model_of("ant")  # whose actuators have no names
    apply(ant, "actuator_gear[hip_4]", 9.0, scaled=False)
    assert ant.actuator_gear[:, 0].tolist() == [9.0] + [150.0] * 7
    apply(ant, "dof_damping[root]", 0.5, scaled=False)  # a free joint
    assert ant.dof_damping[:6].tolist() == [0.5] * 6


@pytest.mark.parametrize(
    ("field", "value", "scaled", "message"),
    [
        ("body_mass[torsoo]", 1.0, False, "no body 'torsoo'; did you mean 'torso'.*foot, leg"),
        ("body_mas", 1.0, False, "unknown model field 'body_mas'; did you mean 'body_mass'"),
        ("body_mass[torso", 1.0, False, "names no field of a MuJoCo model; valid: a form such as"),
        ("body_mass[7]", 1.0, False, "an index from 0 to 4"),
        ("body_mass[torso]", 0.0, True, "must be finite and positive, got 0"),
        ("body_mass[world]", 1.0, False, "has no mass now"),
        ("dof_damping[foot_joint]", -1.0, True, "must be finite and not negative, got -1"),
        ("opt.gravity.2", float("nan"), False, "must be finite, got nan"),
        ("opt.gravity", 1.0, False, "opt.gravity has 3 components.*opt.gravity.0 to"),
        ("opt.gravity.3", 1.0, False, "opt.gravity has components 0 to 2"),
        ("opt.gravity[2]", 1.0, False, "has no elements; valid: opt.gravity, opt.gravity.0"),
        ("geom_friction", 1.0, False, "geom_friction has 3 components"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(field: str, value: float, scaled: bool, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        apply(model_of("hopper"), field, value, scaled)
    assert "\n" not in str(caught.value)


def test_a_field_that_this_release_does_not_follow_is_refused() -> None:
    model = model_of("hopper")
    if version_of(mujoco) < (3, 16):
        with pytest.raises(UserError, match=r"geom_size, which need mujoco 3\.16 or newer"):
            apply(model, "geom_size[foot_geom].0", 1.2, scaled=True)
    else:
        apply(model, "geom_size[foot_geom].0", 1.2, scaled=True)
        assert model.geom("foot_geom").rbound[0] > model_of("hopper").geom("foot_geom").rbound[0]


def test_a_running_simulation_stays_where_it_is() -> None:
    model = model_of("hopper")
    data = mujoco.MjData(model)
    data.ctrl[:] = 1.0
    mujoco.mj_step(model, data, 20)
    before, twin = data.qpos.copy(), mujoco.MjData(model)
    apply(model, "body_mass[torso]", 2.0, scaled=True)
    np.testing.assert_array_equal(data.qpos, before)
    mujoco.mj_setConst(model, twin)  # on data that is in use it begins anew
    assert not np.array_equal(before, twin.qpos)
