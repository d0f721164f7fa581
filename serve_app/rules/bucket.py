"""The bucket of a unit in an experiment: the same in every process, at all times."""

from __future__ import annotations

from hashlib import blake2b

MAX_EXPERIMENT_CHARACTERS = 64  # BLAKE2b's longest key, in bytes
_BITS = 53  # the precision of a float


def bucket(experiment: str, unit: str) -> float:
    """A number in [0, 1), uniform over units and independent between experiments.

    The first 53 bits of BLAKE2b (RFC 7693) of the unit, keyed with the experiment's name.

    Args:
        experiment: 1 to 64 ASCII characters.
        unit: The keyed hash of a user or a session.
    """
    digest = blake2b(unit.encode(), key=experiment.encode("ascii"), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> (64 - _BITS)) / 2**_BITS)
