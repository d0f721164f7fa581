"""Rules: which version serves a request. Pure functions of the request's context."""
