"""The HTTP API of the data plane; one router per noun."""
