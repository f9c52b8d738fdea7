"""The web page: what somebody sees who has never heard of meta-reinforcement learning."""
