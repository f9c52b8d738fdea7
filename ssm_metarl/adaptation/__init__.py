"""At test time: an agent, and the ways it adapts to a task it has never seen."""
