"""The worlds: task families, tensor-native simulators, any Gymnasium environment, and rollouts."""
