"""How trajectories become bytes: rows of 32-bit little-endian words, in chunks with checksums.

A record is one lane of a `Trajectory` up to its last valid step. A record of `steps` steps has
`steps + 1` rows. Row t holds, in words of four bytes,

    observation[t]  action[t]  reward[t]  log_prob[t]  flags[t]
    O floats        F ints / A floats     float        the bits below

and the last row only the observation that the last step led to. `CHUNK_ROWS` rows form a chunk,
which has a CRC-32.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Int32, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import StoreError

VALID, TERMINATED, TRUNCATED, EPISODE_START, TRIAL_START = 1, 2, 4, 8, 16
SUCCESS_TOLD, SUCCESS = 32, 64
CHUNK_ROWS = 128
WORD_BYTES = 4
_U32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Layout:
    """The words of a row.

    Attributes:
        observations: Size of an observation, ``O``.
        actions: Number of discrete actions, or of action dimensions, ``A``.
        discrete: Whether an action is a choice, or several.
        choices: How many there are for each of several; else empty.
    """

    observations: int
    actions: int
    discrete: bool
    choices: tuple[int, ...] = ()

    @classmethod
    def of(cls, family: TaskFamily) -> "Layout":
        """Return the layout of a family's trajectories."""
        own = policy_spaces(family)
        return cls(len(own.observation_scale), own.actions, own.discrete, own.choices)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of a policy's action."""
        if self.discrete:
            return (len(self.choices),) if self.choices else ()
        return (self.actions,)

    @property
    def row_words(self) -> int:
        """Words of a row, ``W``."""
        return self.observations + math.prod(self.action_shape) + 3

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.row_words * WORD_BYTES

    def describe(self) -> str:
        """Return the layout in words: ``4 observations, 2 discrete actions``."""
        if self.choices:
            several = f"{len(self.choices)} actions of {list(self.choices)} choices"
            return f"{self.observations} observations, {several}"
        kind = "discrete actions" if self.discrete else "action dimensions"
        return f"{self.observations} observations, {self.actions} {kind}"

    def to_text(self) -> str:
        """Return how rows are laid out, for people who find a file without this program."""
        count = " x ".join(["", *map(str, self.action_shape)])
        action = ("int32" if self.discrete else "float32") + count
        return (
            f"row, little-endian: float32 x {self.observations} observation; {action} action; "
            f"float32 reward; float32 log_prob; int32 flags ({VALID} valid, {TERMINATED} "
            f"terminated, {TRUNCATED} truncated, {EPISODE_START} episode_start, {TRIAL_START} "
            f"trial_start, {SUCCESS_TOLD} success is known, {SUCCESS} success); the last row of a "
            f"record has only an observation; {CHUNK_ROWS} rows in a chunk"
        )

    def pack(
        self, trajectory: Trajectory, *, behaviour_known: bool = True
    ) -> tuple[Int32[np.ndarray, "K E T1 W"], Int[np.ndarray, "K E"]]:
        """Return the rows of every lane, and how many steps each lane's record has.

        Unless the behaviour is known, log-probabilities become NaN.

        Raises:
            StoreError: The trajectory has another layout, or numbers that are not finite.
        """
        self._check(trajectory)
        valid, size = _lanes_first(trajectory.valid), self.observations
        K, E, T = valid.shape
        steps = (np.arange(1, T + 1) * valid).max(-1)
        words = np.zeros((K, E, T + 1, self.row_words), dtype=np.int32)
        floats, now = words.view(np.float32), words[..., :T, :]
        floats[..., :size] = _lanes_first(trajectory.observation)
        action = _lanes_first(trajectory.action).reshape(K, E, T, -1)
        (now if self.discrete else floats[..., :T, :])[..., size:-3] = action
        floats[..., :T, -3] = _lanes_first(trajectory.reward)
        floats[..., :T, -2] = _lanes_first(trajectory.log_prob) if behaviour_known else 0.0
        now[..., -1] = (
            VALID * valid
            + TERMINATED * _lanes_first(trajectory.terminated)
            + TRUNCATED * _lanes_first(trajectory.truncated)
            + EPISODE_START * _lanes_first(trajectory.episode_start[:-1])
        )
        now[..., 0, -1] += TRIAL_START
        if trajectory.success is not None:
            now[..., -1] += SUCCESS_TOLD * valid + SUCCESS * _lanes_first(trajectory.success)
        ended = np.arange(T + 1) >= steps[..., None]
        words[..., size:][ended] = 0
        if not np.isfinite(floats[..., :-1]).all():
            raise StoreError("a trajectory with numbers that are not finite is not stored")
        if not behaviour_known:
            floats[..., -2] = np.where(ended, 0.0, np.nan)
        return words, steps

    def unpack(self, lanes: Sequence[Int32[np.ndarray, "_ W"]]) -> Trajectory:
        """Return records as lanes of one `Trajectory` ``[T, 1, E]``, padded with dead steps."""
        words = pad_sequence([torch.from_numpy(rows) for rows in lanes]).unsqueeze(1)
        floats, size = words.view(torch.float32), self.observations
        action = (words.long() if self.discrete else floats)[:-1, ..., size:-3]
        action = action.reshape(*action.shape[:-1], *self.action_shape)
        flags, start = words[:-1, ..., -1], words[..., -1]
        return Trajectory(
            action=action.contiguous(),
            observation=floats[..., :size].contiguous(),
            reward=floats[:-1, ..., -3].contiguous(),
            log_prob=floats[:-1, ..., -2].contiguous(),
            terminated=flags & TERMINATED > 0,
            truncated=flags & TRUNCATED > 0,
            valid=flags & VALID > 0,
            episode_start=start & EPISODE_START > 0,
            success=flags & SUCCESS > 0 if (flags & SUCCESS_TOLD).any() else None,
        )

    def from_chunks(
        self, chunks: Sequence[tuple[int, bytes]], steps: int, checksum: int
    ) -> Int32[np.ndarray, "rows W"] | None:
        """Return the rows of a record; None if its chunks are damaged or missing.

        Args:
            chunks: CRC-32 and content of each.
            steps: Of the record.
            checksum: As it was given to `to_chunks`.
        """
        content = b"".join(content for _, content in chunks)
        expected = [min(CHUNK_ROWS, steps + 1 - i) for i in range(0, steps + 1, CHUNK_ROWS)]
        if [len(part) for _, part in chunks] != [rows * self.row_bytes for rows in expected]:
            return None
        rows = np.frombuffer(content, "<i4").astype(np.int32).reshape(-1, self.row_words)
        found = [crc for crc, _ in chunks]
        return rows if found == [crc for crc, _ in to_chunks(rows, checksum)] else None

    def _check(self, trajectory: Trajectory) -> None:
        T, K, E = trajectory.valid.shape
        action, observation = trajectory.action, trajectory.observation
        shape = (T, K, E, *self.action_shape)
        kind = torch.int64 if self.discrete else torch.float32
        if observation.shape[-1] != self.observations or action.shape != shape:
            raise StoreError(
                f"a trajectory of observations {tuple(observation.shape)} and actions "
                f"{tuple(action.shape)} does not fit a store of {self.describe()}"
            )
        for name, values, dtype in (
            ("observations", observation, torch.float32),
            ("actions", action, kind),
            ("rewards", trajectory.reward, torch.float32),
            ("log-probabilities", trajectory.log_prob, torch.float32),
        ):
            if values.dtype != dtype:
                raise StoreError(f"{name} of {values.dtype} are not stored; valid: {dtype}")
        choices = torch.tensor(self.choices or self.actions, device=action.device)
        if self.discrete and not ((action >= 0) & (action < choices)).all():
            raise StoreError(f"an action is not one of the {choices.tolist()} from 0")
        started = trajectory.valid[0] | trajectory.failed.any(0)
        if not (trajectory.episode_start[0] & started).all():
            raise StoreError("a trajectory must start with the first step of an episode")


def to_chunks(rows: Int32[np.ndarray, "T1 W"], checksum: int) -> list[tuple[int, memoryview]]:
    """Return the (CRC-32, content) of the chunks of a record.

    Args:
        rows: The whole record, without gaps in memory.
        checksum: Of what else is known of the record, which the CRCs start from.
    """
    rows = rows.astype("<i4", copy=False)
    parts = [rows[i : i + CHUNK_ROWS].data for i in range(0, len(rows), CHUNK_ROWS)]
    return [(zlib.crc32(part, checksum + n & _U32), part) for n, part in enumerate(parts)]


def _lanes_first(values: Shaped[Tensor, "T K E ..."]) -> Shaped[np.ndarray, "K E T ..."]:
    return values.detach().cpu().permute(1, 2, 0, *range(3, values.ndim)).numpy()
