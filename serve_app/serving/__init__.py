"""The deployments, and all that touches Ray."""
