"""Whether a service is well, from what it says of itself."""

from __future__ import annotations

from typing import Any


def troubles(status: dict[str, Any], rule: dict[str, Any] | None) -> list[str]:
    """Everything that is not as it should be, a sentence each.

    Args:
        status: What `GET /control/status` answers.
        rule: What `GET /v1/rule` answers; None if it does not.
    """
    found = []
    for name, application in status["applications"].items():
        if application["status"] != "RUNNING":
            found.append(_sentence(f"application {name}", application))
        for deployment, facts in application["deployments"].items():
            if facts["status"] not in ("HEALTHY", "UPSCALING", "DOWNSCALING"):
                found.append(_sentence(f"deployment {deployment}", facts))
    return found + (rejections(rule) if rule else [])


def rejections(rule: dict[str, Any]) -> list[str]:
    """What the ingress and the pools rejected, a sentence each.

    Args:
        rule: What `GET /v1/rule` answers.
    """
    found = []
    if rule["rejected"]:
        found.append(
            f"a rule was rejected: {rule['rejected']['path']} {rule['rejected']['message']}"
        )
    for pool in rule["pools"]:
        rejected = {
            f"{rejection['path']} {rejection['message']}"
            for replica in pool["replicas"]
            if (rejection := replica["rejected"])
        }
        found += [f"{pool['pool']} rejected its configuration: {text}" for text in sorted(rejected)]
    return found


def _sentence(what: str, facts: dict[str, Any]) -> str:
    last = facts["message"].strip().splitlines()[-1:]
    return f"{what} is {facts['status']}" + (f": {last[0]}" if last else "")
