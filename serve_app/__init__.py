"""Roll out new versions of an image classifier on Ray Serve."""

__version__ = "0.2.0"
