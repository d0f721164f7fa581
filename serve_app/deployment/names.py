"""The names of the Serve applications and their deployments; those of the pools are `Pool`."""

from __future__ import annotations

DATA_PLANE, CONTROL_PLANE = "animals", "control"  # the Serve applications
INGRESS = "Ingress"  # a deployment of the data plane; its user_config has the rule
CONTROLLER, CONTROL_API = "Controller", "ControlApi"  # the deployments of the control plane
