"""Starts and stops the service on this machine.

    up.py            starts the service and supervises it until Ctrl-C
    launch.py        starts `serve run`
    readiness.py     waits until the service is ready
    down.py          stops the service, or what is left of a killed one
    run.py           the record of a start: run.json in the home directory
    processes.py     finds the processes of a start
    ports.py         the ports of the service, and the processes that occupy them
    environment.py   the environment variables of Ray and HAProxy
    haproxy.sh       the program that Serve runs as HAProxy; it runs haproxy.py
    haproxy.py       completes HAProxy's configuration, then becomes HAProxy
    haproxy_responses.py    the responses of HAProxy itself
    configuration.py the configuration of a start: a file, or the last one in force
    serve_file.py    reads a Serve configuration file
    ray_api.py       the state of Serve, from Ray's REST API
    ray_session.py   Ray's session folders: logs and sockets of one start each
    ray_token.py     the token of Ray's dashboard
    welcome.py       the text that `up` prints when the service is ready
    terminal.py      output to the terminal
    signals.py       Ctrl-C and other stop signals

This package uses Ray only through its command line and HTTP.
"""
