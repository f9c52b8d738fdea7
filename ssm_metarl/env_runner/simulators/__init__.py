"""Tensor-native worlds: pure batched functions, equal to Gymnasium's own step by step."""
