"""Where a unit stands in an experiment: the same place in every process, for good."""

from __future__ import annotations

from hashlib import blake2b

MAX_EXPERIMENT_CHARACTERS = 64  # the longest key of BLAKE2b
_BITS = 53  # as many as a float holds without rounding


def bucket(experiment: str, unit: str) -> float:
    """A number in [0, 1), uniform over units and independent between experiments.

    The first 53 bits of BLAKE2b (RFC 7693) of the unit, keyed with the experiment's name.

    Args:
        experiment: 1 to 64 ASCII characters.
        unit: The keyed hash of a user or a session.
    """
    digest = blake2b(unit.encode(), key=experiment.encode("ascii"), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> (64 - _BITS)) / 2**_BITS)
