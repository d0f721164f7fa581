"""Errors of the input of a training run."""


class TrainingError(Exception):
    """The data, the configuration or a checkpoint cannot be used; the text says what to do."""
