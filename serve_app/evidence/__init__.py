"""What the records prove: comparisons, confidence, verdicts. Arrays in, numbers out, no I/O."""
