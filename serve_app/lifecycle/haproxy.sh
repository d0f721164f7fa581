#!/bin/sh
# The program that Serve runs as HAProxy; see haproxy.py.
exec "$SERVE_APP_PYTHON" -m serve_app.lifecycle.haproxy "$@"
