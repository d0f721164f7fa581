"""The statistics of reports: comparisons, intervals, verdicts. Arrays in, numbers out, no I/O."""
