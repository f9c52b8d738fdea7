"""The adaptation modes in plain words, for the page and for ``--help``."""

EXPLAINED = {
    "zero_shot": "plays the new task as it is, and learns nothing from it",
    "in_context": "changes no weight: what it sees in the first episodes stays in its memory and "
    "tells it what to do in the next ones",
    "standard": "plays a few episodes of the new task, then changes its weights by a gradient step "
    "towards what went well",
    "hybrid": "does the same, and also recalls tasks of its training that resemble the new one, so "
    "that fewer episodes will do",
    "from_scratch": "a fresh network that was never trained takes the same steps from the same "
    "number of episodes: what is to be beaten",
}
"""By the keys of :data:`ssm_metarl.evaluation.report.MODES`: what the agent does."""
