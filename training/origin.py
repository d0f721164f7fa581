"""Origin of a run: its images and its parent. A run is resumed only with the same origin."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from models.card import Parent
from models.samples import labelled_files


class Origin(BaseModel):
    """The images and the parent of a run.

    Attributes:
        photographs: Training photographs by label; empty for synthetic images only.
        photographs_digest: SHA-256 of their listing: label, name and size of each file.
        parent: The version whose weights the run starts from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    photographs: dict[str, int]
    photographs_digest: str
    parent: Parent | None


def describe_origin(train: Path | None, labels: Sequence[str], parent: Parent | None) -> Origin:
    """Describe a run on the folder per class `train`; None for synthetic images only.

    Raises:
        BadData: A class of `labels` is missing or empty.
    """
    files = labelled_files(train, labels) if train else []
    listing = "".join(f"{label}/{path.name} {path.stat().st_size}\n" for path, label in files)
    return Origin(
        photographs=dict(Counter(label for _, label in files)),
        photographs_digest=hashlib.sha256(listing.encode()).hexdigest(),
        parent=parent,
    )
