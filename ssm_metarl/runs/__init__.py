"""A run on disk: its configuration, its checkpoint, its metrics, its videos."""
