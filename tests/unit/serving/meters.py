"""What `ray.serve.metrics` has, with a memory instead of a Ray."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeVar

Labels = tuple[str, ...]


@dataclass
class Meter:
    """One metric.

    Attributes:
        values: By the values of the labels, in the order of `tag_keys`.
        observed: The same of a histogram, oldest first.
    """

    name: str
    description: str
    tag_keys: tuple[str, ...] = ()
    boundaries: list[float] = field(default_factory=list)
    values: dict[Labels, float] = field(default_factory=lambda: defaultdict(float))
    observed: dict[Labels, list[float]] = field(default_factory=lambda: defaultdict(list))

    def labels(self, tags: dict[str, str] | None) -> Labels:
        """As strict as Ray: every key, and no other."""
        given = tags or {}
        assert set(given) == set(self.tag_keys), f"{self.name}: {given}"
        assert all(isinstance(value, str) for value in given.values()), f"{self.name}: {given}"
        return tuple(given[key] for key in self.tag_keys)


class Counter(Meter):
    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        assert value > 0
        self.values[self.labels(tags)] += value


class Gauge(Meter):
    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        self.values[self.labels(tags)] = value


class Histogram(Meter):
    def observe(self, value: float, tags: dict[str, str] | None = None) -> None:
        self.observed[self.labels(tags)].append(value)


M = TypeVar("M", bound=Meter)


class Meters:
    """Stands in for the module.

    Attributes:
        made: By name.
    """

    def __init__(self) -> None:
        self.made: dict[str, Meter] = {}

    def Counter(  # noqa: N802 as in Ray
        self, name: str, description: str, tag_keys: tuple[str, ...] = ()
    ) -> Counter:
        return self._make(Counter(name, description, tag_keys))

    def Gauge(  # noqa: N802
        self, name: str, description: str, tag_keys: tuple[str, ...] = ()
    ) -> Gauge:
        return self._make(Gauge(name, description, tag_keys))

    def Histogram(  # noqa: N802
        self,
        name: str,
        description: str,
        boundaries: list[float],
        tag_keys: tuple[str, ...] = (),
    ) -> Histogram:
        return self._make(Histogram(name, description, tag_keys, boundaries))

    def _make(self, meter: M) -> M:
        assert meter.name not in self.made
        self.made[meter.name] = meter
        return meter
