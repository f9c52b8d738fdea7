"""Many MuJoCo simulations at once, each on a model of its own, on all cores."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ssm_metarl.env_runner.cores import usable_cores
from ssm_metarl.env_runner.mujoco_model import MjModel, load_mujoco, version_of

Fields = Mapping[str, np.ndarray]
"""Fields of MjData by name, with a leading axis ``[N]`` over lanes."""
STATE = ("time", "qpos", "qvel")
_BATCH_SINCE = (3, 17)  # the first release with mujoco.batch


@runtime_checkable
class Lanes(Protocol):
    """N simulations. Like ``mj_step``, what derives from the state is one substep behind it."""

    fields: Fields

    def start(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Start the simulations ``ids`` anew from positions and velocities ``[len(ids), ...]``."""
        ...

    def step(self, control: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
        """Advance the simulations ``ids`` (None: all) by ``substeps``, under controls ``[N, A]``.

        Returns which of all N became unstable and restarted by themselves, bool ``[N]``. MuJoCo
        does that without a word; the only trace in the state is a time that ran backwards.
        """
        ...

    def close(self) -> None:
        """Stop the threads."""
        ...


def make_lanes(
    models: Sequence[MjModel], substeps: int, reads: Sequence[str], *, forces: bool
) -> Lanes:
    """Build one simulation for each model; the same object may be given many times.

    Args:
        models: N models that differ in numbers only; not changed afterwards.
        substeps: ``mj_step`` in one step.
        reads: Fields of MjData that are read besides time, qpos and qvel.
        forces: Whether to compute contact forces after each step, as ``mj_rnePostConstraint`` does.
    """
    threads = usable_cores()
    # mujoco.batch computes contact forces at the first stage of RK4, Gymnasium at the last.
    if version_of(load_mujoco()) >= _BATCH_SINCE and not forces:
        return BatchLanes(models, substeps, reads, threads)
    return ThreadLanes(models, substeps, reads, threads, forces=forces)


class _Clock:
    """Tells the simulations that restarted from those that went on."""

    def __init__(self, models: Sequence[MjModel], substeps: int) -> None:
        self._seconds = substeps * np.array([model.opt.timestep for model in models])
        self._expected = np.zeros(len(models))

    def start(self, ids: np.ndarray) -> None:
        self._expected[ids] = 0.0

    def behind(self, time: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
        """Return which of the lanes that were stepped show too early a time ``[N]``."""
        if ids is None:
            self._expected += self._seconds
        else:
            self._expected[ids] += self._seconds[ids]
        late = time < self._expected - 0.1 * self._seconds
        self._expected = np.where(late, time, self._expected)
        return late


class BatchLanes:
    """Simulations in the C++ threads of ``mujoco.batch``, bitwise equal to a loop over MjData."""

    def __init__(
        self, models: Sequence[MjModel], substeps: int, reads: Sequence[str], threads: int
    ) -> None:
        """Build them; see :func:`make_lanes`."""
        mujoco = load_mujoco()
        batch: Any = importlib.import_module("mujoco.batch")
        self._batch = batch.Batch(models[0], len(models), min(threads, len(models)))
        # One model with a few fields per lane: 20% faster than models that differ (400 lanes), and
        # a fraction of their memory.
        for name, values in _differing(models, sorted(batch.MODEL_FIELDS)):
            expanded = self._batch.expand(name)
            expanded[...] = values[tuple(map(slice, expanded.shape))]  # of bvh_aabb, the bodies'
        self._control = self._batch.bind("ctrl")
        self._substeps, self._clock = substeps, _Clock(models, substeps)
        self._no_stage = mujoco.mjtStage.mjSTAGE_NONE.value
        self.fields: Fields = {name: self._batch.bind(name) for name in (*STATE, *reads)}

    def start(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Start the simulations ``ids`` anew."""
        self._batch.reset(ids, stage=self._no_stage)
        self.fields["qpos"][ids], self.fields["qvel"][ids] = qpos, qvel
        self._batch.forward(ids)
        self._clock.start(ids)

    def step(self, control: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
        """Advance the simulations ``ids``; return which became unstable."""
        self._control[:] = control
        self._batch.step(ids, nstep=self._substeps)
        return self._clock.behind(self.fields["time"], ids)

    def close(self) -> None:
        """Do nothing: the threads end with the batch."""


def _differing(models: Sequence[MjModel], names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the fields that are not the same in all models, with their values ``[N, ...]``."""
    distinct = list({id(model): model for model in models}.values())
    if len(distinct) == 1:
        return
    place = {id(model): row for row, model in enumerate(distinct)}
    rows = [place[id(model)] for model in models]
    for name in names:
        owners = [model.opt for model in distinct] if name.startswith("opt.") else distinct
        values = np.stack([getattr(owner, name.removeprefix("opt.")) for owner in owners])
        if (values != values[0]).any():
            yield name, values[rows]


class ThreadLanes:
    """Simulations in Python threads, which MuJoCo's functions let run beside each other."""

    def __init__(
        self,
        models: Sequence[MjModel],
        substeps: int,
        reads: Sequence[str],
        threads: int,
        *,
        forces: bool,
    ) -> None:
        """Build them; see :func:`make_lanes`."""
        self._mujoco: Any = load_mujoco()
        self._models, self._substeps, self._forces = models, substeps, forces
        self._data = [self._mujoco.MjData(model) for model in models]
        names = [name for name in (*STATE, *reads) if name != "time"]
        # Views into each simulation's memory, beside the arrays over all lanes they are copied to.
        self._views = [[getattr(data, name) for name in names] for data in self._data]
        self._copies = [np.zeros((len(models), *view.shape)) for view in self._views[0]]
        self._time = np.zeros(len(models))
        self.fields: Fields = {**dict(zip(names, self._copies, strict=True)), "time": self._time}
        self._clock = _Clock(models, substeps)
        self._threads = min(threads, len(models))
        self._pool = ThreadPoolExecutor(self._threads)

    def start(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Start the simulations ``ids`` anew."""
        for lane, position, velocity in zip(ids.tolist(), qpos, qvel, strict=True):
            model, data = self._models[lane], self._data[lane]
            self._mujoco.mj_resetData(model, data)
            data.qacc_warmstart[:] = 0.0  # mj_resetData leaves it before 3.3.6
            data.qpos[:], data.qvel[:] = position, velocity
            self._mujoco.mj_forward(model, data)
            self._copy(lane)
        self._clock.start(ids)

    def step(self, control: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
        """Advance the simulations ``ids``; return which became unstable."""
        lanes = np.arange(len(self._models)) if ids is None else ids
        parts = np.array_split(lanes, self._threads)
        list(self._pool.map(lambda part: self._step_some(part.tolist(), control), parts))
        return self._clock.behind(self._time, ids)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()

    def _step_some(self, lanes: list[int], control: np.ndarray) -> None:
        step, forces = self._mujoco.mj_step, self._mujoco.mj_rnePostConstraint
        for lane in lanes:
            model, data = self._models[lane], self._data[lane]
            data.ctrl[:] = control[lane]
            step(model, data, self._substeps)
            if self._forces:
                forces(model, data)
            self._copy(lane)

    def _copy(self, lane: int) -> None:
        for copy, view in zip(self._copies, self._views[lane], strict=True):
            copy[lane] = view
        self._time[lane] = self._data[lane].time
