"""FastAPI applications of the data plane and the control plane, without Ray."""
