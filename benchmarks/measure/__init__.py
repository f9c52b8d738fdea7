"""How the benchmarks of speed are run, and what they measure."""
