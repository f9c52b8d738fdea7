"""Trains small runs, in processes that torchrun starts: the folder to put them in, their names."""

import sys
from pathlib import Path

import torch
from small_runs import CONFIGS

from ssm_metarl.core.processes import leave
from ssm_metarl.training.loop import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    place, *names = sys.argv[1:]
    for name in names:
        list(train(CONFIGS[name], Path(place) / name))
    leave()
