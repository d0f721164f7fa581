"""The load that the candidate of a shadow carried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve_app.clock import MINUTE_MS
from serve_app.evidence.copies import Load
from serve_app.evidence.units import sum_by_code

MIN_PEAK_COPIED = 0.95  # the copied share of the peak minute from which the load is established


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """The load that the candidate carried.

    Attributes:
        copies_per_minute: Mean over the minutes with at least one answered image.
        minutes: Their number.
        peak_at_ms: Start of the minute with most answered images; None without images.
        peak_images: The images that stable answered in it.
        peak_copied_share: The copied share of these, 0 to 1.
        established: Whether the candidate carried the load of that minute.
        sentence: `established` in words.
    """

    copies_per_minute: float
    minutes: int
    peak_at_ms: int | None
    peak_images: float
    peak_copied_share: float
    established: bool
    sentence: str


def summarize_load(load: Load) -> LoadSummary:
    """The mean load, and that of the peak minute."""
    has_images = load.answered > 0
    minutes, row = np.unique(load.minute[has_images], return_inverse=True)
    answered = sum_by_code(row, load.answered[has_images], len(minutes))
    copied = sum_by_code(row, load.copied[has_images], len(minutes))
    if not len(minutes):
        sentence = "Not established: there was no image to copy."
        return LoadSummary(0.0, 0, None, 0.0, 0.0, established=False, sentence=sentence)
    peak = int(answered.argmax())
    images, share = float(answered[peak]), float(copied[peak] / answered[peak])
    established = share >= MIN_PEAK_COPIED
    return LoadSummary(
        copies_per_minute=float(copied.mean()),
        minutes=len(minutes),
        peak_at_ms=int(minutes[peak]) * MINUTE_MS,
        peak_images=images,
        peak_copied_share=share,
        established=established,
        sentence=(
            f"{'Established' if established else 'Not established'}: in the peak minute, of"
            f" {images:,.0f} images, {100 * share:.1f} % were copied; {100 * MIN_PEAK_COPIED:.0f} %"
            " are needed to establish that the candidate carries the load."
        ),
    )
