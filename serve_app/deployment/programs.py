"""Which programs a deployment over HTTP may start."""

from __future__ import annotations

from typing import Any

from serve_app.deployment.names import CONTROL_PLANE, DATA_PLANE
from serve_app.errors import BadConfig

IMPORT_PATHS = {
    DATA_PLANE: "serve_app.serving.app:animals",
    CONTROL_PLANE: "serve_app.serving.app:control",
}


def check_programs(document: dict[str, Any], current: dict[str, Any]) -> None:
    """Check that a document starts only the two applications of serve-app, and what runs already.

    The file of `serve-app up` may name other import paths and further applications: the machine's
    owner starts it.

    Args:
        document: A deployment file; its structure is not checked yet.
        current: The present deployment file.

    Raises:
        BadConfig: An application is neither of the two nor in the present file, or has another
            import path.
    """
    listed = document.get("applications")
    present = {str(a.get("name")): a for a in current["applications"]}
    for application in listed if isinstance(listed, list) else []:
        if not isinstance(application, dict):
            continue
        name = str(application.get("name"))
        if name not in IMPORT_PATHS:
            if _program(application) != _program(present.get(name, {})):
                raise BadConfig(
                    name,
                    f"is not an application of serve-app: list {', '.join(IMPORT_PATHS)}, and"
                    " deploy others with Ray's own command",
                )
            continue
        allowed = [IMPORT_PATHS[name]]
        if name in present and (running := present[name].get("import_path")) not in allowed:
            allowed.append(running)
        if (path := application.get("import_path")) not in allowed:
            raise BadConfig(
                f"{name}.import_path",
                f"is {path}: expected {' or '.join(allowed)}. Start the service with another one:"
                " serve-app up FILE",
            )


def _program(application: dict[str, Any]) -> tuple[Any, Any]:
    return application.get("import_path"), application.get("runtime_env") or {}
