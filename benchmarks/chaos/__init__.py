"""What clients see while parts of a running service fail; see `benchmarks.chaos.__main__`."""
