"""Deployment files: what may stand in them, whether it agrees, and how a change is put together."""
