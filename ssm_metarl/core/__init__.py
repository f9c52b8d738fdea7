"""The network: a linear recurrence, the state-space model on top of it, and policies with heads."""
