"""What a change of the configuration will do, in plain words, before it is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from serve_app.deployment.config import Difference, differences
from serve_app.deployment.names import DATA_PLANE, INGRESS
from serve_app.deployment.summary import Summary, summarize
from serve_app.rules.plan import Pool
from serve_app.rules.pools import PoolNeed
from serve_app.rules.rule import Rule

# version -> the labels that it knows; None for an unknown version
VersionLabels = Callable[[str], Collection[str] | None]
# version -> the faults of a test version in words; None for all others
VersionFaults = Callable[[str], str | None]

_RULE = f"{DATA_PLANE}.{INGRESS}.user_config.rule"
# Keys of a rule that its sentence covers.
_SENTENCE_KEYS = (
    "kind",
    "stable",
    "candidate",
    "control",
    "treatment",
    "weight",
    "sample",
    "replicas",
    "of",
    "unit",
    "regions",
)
_STARTED_KEYS = (
    "user_config.version",
    "user_config.background",
    "autoscaling_config.min_replicas",
    "autoscaling_config.initial_replicas",
)
_FIXED_KEYS = (
    "user_config.patch",
    "autoscaling_config.min_replicas",
    "autoscaling_config.initial_replicas",
    "autoscaling_config.max_replicas",
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change will do.

    Attributes:
        base_revision: The revision that the change was compared with; None without one.
        promoted: The version that all users change to; None if they keep theirs.
        changes: What changes, one sentence each; empty if nothing does.
        confirmations: Why a person should confirm it, one sentence each.
        warnings: What is allowed and not recommended.
        differences: The keys that differ.
    """

    base_revision: int | None
    promoted: str | None
    changes: tuple[str, ...]
    confirmations: tuple[str, ...]
    warnings: tuple[str, ...]
    differences: tuple[Difference, ...]


def preview(
    before: dict[str, Any],
    after: dict[str, Any],
    labels: VersionLabels,
    faults: VersionFaults,
    *,
    base_revision: int | None = None,
    recreates: bool = False,
) -> Preview:
    """Compare two deployment files.

    Args:
        before: The present file.
        after: The file that a change asks for, checked.
        recreates: Whether the data plane is torn down and built again.
    """
    old, new = summarize(before), summarize(after)
    found = differences(before, after)
    lost_labels = list(_lost_labels(old, new, labels))
    changes = [
        *_describe_rule(old, new),
        *_describe_pools(old, new),
        *_describe_others(found, set(_covered(old, new))),
    ]
    if recreates:
        changes.append("the data plane is torn down and built again: requests fail meanwhile")
    return Preview(
        base_revision,
        new.stable if old.stable != new.stable else None,
        tuple(changes),
        tuple(_confirmations(old, new, lost_labels, recreates=recreates)),
        (
            *(new.rule.warnings() if new.rule else ()),
            *lost_labels,
            *_test_versions(new, faults),
        ),
        tuple(found),
    )


def _describe_rule(old: Summary, new: Summary) -> Iterator[str]:
    if old.stable != new.stable:
        yield f"all users: {old.stable or 'no version'} → {new.stable}"
    if old.experiment != new.experiment:
        yield f"experiment: {old.experiment or 'none'} → {new.experiment or 'none'}"
    # Without a candidate before and after, the sentence on all users has said it.
    if old.sentence != new.sentence and (old.candidate or new.candidate or not old.stable):
        yield f"rule: {old.sentence} → {new.sentence}"
    if old.rule and new.rule:
        before, after = old.rule.content(), new.rule.content()
        covered = ("experiment", *(_SENTENCE_KEYS if old.sentence != new.sentence else ()))
        is_same_kind = old.rule.kind == new.rule.kind
        for key in sorted((before if is_same_kind else Rule.model_fields).keys() - set(covered)):
            if before[key] != after[key]:
                yield f"rule.{key}: {json.dumps(before[key])} → {json.dumps(after[key])}"


def _describe_pools(old: Summary, new: Summary) -> Iterator[str]:
    for pool, was, needed in _needs(old, new):
        if was and not needed:
            yield f"{pool}: no longer needed"
        elif needed and not was:
            yield f"{pool}: starts {needed.version}"
        if needed and needed.fixed_replicas and (not was or was.patch != needed.patch):
            patch = needed.patch
            patched = f", {patch.replicas} of them with {patch.version}" if patch else ""
            yield f"{pool}: fixed at {needed.fixed_replicas} replicas{patched}"


def _needs(old: Summary, new: Summary) -> Iterator[tuple[Pool, PoolNeed | None, PoolNeed | None]]:
    """Each pool, with what the rules before and after need of it."""
    for pool in Pool:
        was, needed = (s.rule.pools.get(pool) if s.rule else None for s in (old, new))
        yield pool, was, needed


def _covered(old: Summary, new: Summary) -> Iterator[str]:
    """The beginnings of the keys that the sentences on the rule and the pools cover."""
    if old.rule and new.rule:
        yield _RULE
    for pool, was, needed in _needs(old, new):
        prefix = f"{DATA_PLANE}.{pool}"
        if bool(was) != bool(needed):
            yield from (f"{prefix}.{key}" for key in _STARTED_KEYS)
        if was and needed and was != needed:
            yield from (f"{prefix}.user_config.{key}" for key in ("version", "background"))
        if needed and needed.fixed_replicas and (not was or was.patch != needed.patch):
            yield from (f"{prefix}.{key}" for key in _FIXED_KEYS)


def _describe_others(found: list[Difference], covered: set[str]) -> Iterator[str]:
    """The changes that the other sentences do not cover."""
    for difference in found:
        path = difference.path
        if any(path == key or path.startswith(f"{key}.") for key in covered):
            continue
        before, after = (
            "unset" if value is None else json.dumps(value) for value in difference.values
        )
        yield f"{path}: {before} → {after}{_describe_effect(difference)}"


def _describe_effect(difference: Difference) -> str:
    if difference.path.startswith("http_options"):
        return ", after down and up"  # Serve's proxies read it when they start
    return ", with new replicas" if difference.restarts_replicas else ""


def _confirmations(
    old: Summary, new: Summary, lost_labels: list[str], *, recreates: bool
) -> Iterator[str]:
    if old.stable and new.stable and old.stable != new.stable:
        yield f"all users change from {old.stable} to {new.stable}"
    yield from lost_labels
    if recreates:
        yield "requests fail while the data plane is recreated"


def _test_versions(new: Summary, faults: VersionFaults) -> Iterator[str]:
    for version in new.rule.versions.values() if new.rule else ():
        if sentence := faults(version):
            yield f"{version} is a test version with faults on purpose: {sentence}"


def _lost_labels(old: Summary, new: Summary, labels: VersionLabels) -> Iterator[str]:
    """The labels that users lose, one sentence for each version that they change to."""
    replaced = [(old.stable, new.stable)]
    if new.rule and new.rule.splits:
        replaced.append((new.rule.stable, new.rule.candidate))
    for before, after in replaced:
        known, kept = (labels(version) if version else None for version in (before, after))
        if known is not None and kept is not None and (lost := sorted(set(known) - set(kept))):
            yield f"{after} does not know {', '.join(lost)}, which {before} does"
