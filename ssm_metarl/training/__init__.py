"""A training run: its settings, its loop, and the metrics that it writes."""
