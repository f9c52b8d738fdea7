"""Random streams that are named, never counted: what one task draws never depends on another."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.random import Generator, SeedSequence
from torch import Tensor

NoiseKind = Literal["uniform", "normal", "gumbel"]


def substream(seed: SeedSequence, *key: int) -> SeedSequence:
    """Name a child of `seed` by its key.

    Unlike `SeedSequence.spawn` it does not depend on how many children were made before, so a run
    can be resumed from (seed, iteration) alone.
    """
    return SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key))


class NoiseStream:
    """Noise for `[K, E]` lanes, step by step, from one generator per task.

    Task k sees numbers that depend only on `seed` and `index[k]`: not on the other tasks of the
    batch, nor on how many steps were skipped. They are drawn in float32, a block of steps at once.
    """

    def __init__(
        self,
        seed: SeedSequence,
        index: Sequence[int] | np.ndarray,
        lanes: int,
        width: int,
        kind: NoiseKind,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        block: int = 64,
    ) -> None:
        """Name the streams; nothing is drawn yet.

        Args:
            seed: Parent of the per-task streams.
            index: Identity of each of the K tasks.
            lanes: E, lanes per task.
            width: Numbers per lane and step.
            kind: Uniform on [0, 1), standard normal, or standard Gumbel.
            dtype: Of the tensors handed out; the numbers are float32 whatever it is.
            device: Of the tensors handed out.
            block: Time steps drawn at once; only the speed depends on it.
        """
        seeds = (substream(seed, int(i)) for i in index)
        self._generators = [np.random.Generator(np.random.PCG64(s)) for s in seeds]
        self._shape = (len(self._generators), block, lanes, width)
        self._kind: NoiseKind = kind
        self._dtype, self._device = dtype, device
        self._block = torch.empty(0)
        self._end = 0  # first time step that lies after the current block
        self._step = 0

    def next(self) -> Tensor:
        """Return the noise `[K, E, width]` of the next time step."""
        self._step += 1
        return self.at(self._step - 1)

    def at(self, step: int) -> Tensor:
        """Return the noise `[K, E, width]` of a time step; steps may be skipped, not revisited."""
        block, row = self.block_at(step)
        return block[:, row]

    def several(self, count: int) -> Tensor:
        """Return the noise `[K, count, E, width]` of the next time steps, a copy."""
        self._step += count
        return self.between(self._step - count, self._step)

    def between(self, first: int, end: int) -> Tensor:
        """Return the noise `[K, end - first, E, width]` of some time steps in a row, a copy."""
        return torch.cat([block[:, rows] for block, rows in self.blocks(first, end)], 1)

    def blocks(self, first: int, end: int) -> Iterator[tuple[Tensor, slice]]:
        """Yield the blocks that time steps in a row lie in, and which rows of each they are."""
        size = self._shape[1]
        while first < end:
            block, row = self.block_at(first)
            rows = slice(row + size, min(size, row + size + end - first))
            yield block, rows
            first += rows.stop - rows.start

    def block_at(self, step: int) -> tuple[Tensor, int]:
        """Return the block `[K, block, E, width]` that a time step lies in, and where there."""
        while step >= self._end:
            self._block = self._draw()
            self._end += self._shape[1]
        return self._block, step - self._end

    def _draw(self) -> Tensor:
        # A new array each time: earlier steps may still be referenced by whoever asked for them.
        numbers = np.empty(self._shape, dtype=np.float32)
        for generator, rows in zip(self._generators, numbers, strict=True):
            _fill(generator, rows, self._kind)
        noise = torch.from_numpy(numbers).to(self._device, self._dtype)
        # A uniform draw of exactly 0 becomes -inf, the right limit: that choice never wins.
        return noise.log().neg().log().neg() if self._kind == "gumbel" else noise


def _fill(generator: Generator, out: np.ndarray, kind: NoiseKind) -> None:
    if kind == "normal":
        generator.standard_normal(dtype=np.float32, out=out)
    else:
        generator.random(dtype=np.float32, out=out)
