"""Derives the troubles of a service from its status and its rule."""

from __future__ import annotations

from typing import Any


def troubles(status: dict[str, Any], rule: dict[str, Any] | None) -> list[str]:
    """All troubles of the service, one sentence each.

    Args:
        status: The response of `GET /control/status`.
        rule: The response of `GET /v1/rule`; None if there is none.
    """
    found = []
    for name, application in status["applications"].items():
        if application["status"] != "RUNNING":
            found.append(_describe_trouble(f"application {name}", application))
        for deployment, details in application["deployments"].items():
            if details["status"] not in ("HEALTHY", "UPSCALING", "DOWNSCALING"):
                found.append(_describe_trouble(f"deployment {deployment}", details))
    return found + (rejections(rule) if rule else [])


def rejections(rule: dict[str, Any]) -> list[str]:
    """The configurations that the ingress and the pools rejected, one sentence each.

    Args:
        rule: The response of `GET /v1/rule`.
    """
    found = []
    if rule["rejected"]:
        found.append(
            f"a rule was rejected: {rule['rejected']['path']} {rule['rejected']['message']}"
        )
    for pool in rule["pools"]:
        texts = {
            f"{rejection['path']} {rejection['message']}"
            for replica in pool["replicas"]
            if (rejection := replica["rejected"])
        }
        found += [f"{pool['pool']} rejected its configuration: {text}" for text in sorted(texts)]
    return found


def _describe_trouble(name: str, details: dict[str, Any]) -> str:
    last_line = details["message"].strip().splitlines()[-1:]
    return f"{name} is {details['status']}" + (f": {last_line[0]}" if last_line else "")
