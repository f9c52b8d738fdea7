"""One file per tab; each has a `build` that lays it out and connects it."""
