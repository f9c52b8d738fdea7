"""What others do the same work with; each module runs in a process of its own."""
