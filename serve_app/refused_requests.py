"""The number of requests that were refused: HAProxy appends a byte to a file for each 503.

The requests of `UNCOUNTED` ask whether the service is ready, or are of the control plane.
"""

from __future__ import annotations

import os
from pathlib import Path

from serve_app.deployment.names import CONTROL_PLANE

FOLDER_VARIABLE = "SERVE_APP_HAPROXY_RESPONSES"  # the folder of HAProxy's responses
FILE = "refused"
UNCOUNTED = ("/readyz", "/healthz", "/-/", f"/{CONTROL_PLANE}/")  # starts of paths


def count() -> int | None:
    """The requests that were refused since the start; None without our HAProxy."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        return None
    try:
        return (Path(folder) / FILE).stat().st_size
    except OSError:
        return None
