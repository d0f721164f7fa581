"""The control plane: changes the service, one change at a time. Imports no Ray."""
