"""Bring a new version of a classifier to its users on Ray Serve."""

__version__ = "0.1.0"
