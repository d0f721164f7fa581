"""The HTTP API of the control plane; one router per noun."""
