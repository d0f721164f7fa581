"""An in-memory fake of `ray.serve.metrics`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeVar

Labels = tuple[str, ...]


@dataclass
class FakeMetric:
    """One metric.

    Attributes:
        values: Label values, in the order of `tag_keys`, to the value.
        observed: Label values to the observations of a histogram, oldest first.
    """

    name: str
    description: str
    tag_keys: tuple[str, ...] = ()
    boundaries: list[float] = field(default_factory=list)
    values: dict[Labels, float] = field(default_factory=lambda: defaultdict(float))
    observed: dict[Labels, list[float]] = field(default_factory=lambda: defaultdict(list))

    def labels(self, tags: dict[str, str] | None) -> Labels:
        """The label values; like Ray, it requires every key and no other."""
        given = tags or {}
        assert set(given) == set(self.tag_keys), f"{self.name}: {given}"
        assert all(isinstance(value, str) for value in given.values()), f"{self.name}: {given}"
        return tuple(given[key] for key in self.tag_keys)


class Counter(FakeMetric):
    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        assert value > 0
        self.values[self.labels(tags)] += value


class Gauge(FakeMetric):
    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        self.values[self.labels(tags)] = value


class Histogram(FakeMetric):
    def observe(self, value: float, tags: dict[str, str] | None = None) -> None:
        self.observed[self.labels(tags)].append(value)


M = TypeVar("M", bound=FakeMetric)


class FakeMetrics:
    """Replaces the module `ray.serve.metrics`.

    Attributes:
        created: The metrics by name.
    """

    def __init__(self) -> None:
        self.created: dict[str, FakeMetric] = {}

    def Counter(  # noqa: N802 as in Ray
        self, name: str, description: str, tag_keys: tuple[str, ...] = ()
    ) -> Counter:
        return self._add(Counter(name, description, tag_keys))

    def Gauge(  # noqa: N802
        self, name: str, description: str, tag_keys: tuple[str, ...] = ()
    ) -> Gauge:
        return self._add(Gauge(name, description, tag_keys))

    def Histogram(  # noqa: N802
        self,
        name: str,
        description: str,
        boundaries: list[float],
        tag_keys: tuple[str, ...] = (),
    ) -> Histogram:
        return self._add(Histogram(name, description, tag_keys, boundaries))

    def _add(self, metric: M) -> M:
        assert metric.name not in self.created
        self.created[metric.name] = metric
        return metric
