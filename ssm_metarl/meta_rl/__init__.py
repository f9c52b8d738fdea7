"""Learning: returns, losses, the inner loop, and the learners built from them."""
