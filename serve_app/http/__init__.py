"""The HTTP of both planes, without Ray: FastAPI applications around them."""
