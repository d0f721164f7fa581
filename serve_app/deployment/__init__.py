"""Deployment files: reading, validation, and the changes that a rule makes to them."""
