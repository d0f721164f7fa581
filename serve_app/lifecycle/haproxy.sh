#!/bin/sh
# The program that Serve runs as HAProxy; see haproxy.py.
exec "${SERVE_APP_PYTHON:?is not set: start the service with serve-app up}" -m serve_app.lifecycle.haproxy "$@"
