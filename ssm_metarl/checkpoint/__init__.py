"""What is on disk: tensors with their manifest, files that are whole or absent, a lock."""
