"""The memory: trajectories on disk, for adaptation by retrieval and for off-policy training."""
