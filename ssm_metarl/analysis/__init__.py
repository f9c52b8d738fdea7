"""What is inside an agent: its eigenvalues, its hidden state, and what it retrieves."""
