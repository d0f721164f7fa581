"""Start the service on this machine, wait with it, and end every process that it started.

    up.py            the start, the stay, Ctrl-C
    launch.py        starting `serve run`
    readiness.py     waiting until it is ready
    down.py          the end, also of what a killed start left
    run.py           what a start started: run.json in the home
    processes.py     which processes those are
    ports.py         which ports they need, and who has them
    environment.py   the settings that Ray and HAProxy are started with
    serve_file.py    what must be known of the Serve configuration file
    ray_api.py       how far Ray is with it
    guide.py         what a user can do once it is ready
    terminal.py         telling the user what goes on
    signals.py       Ctrl-C, and being told to end

Ray itself is only spoken to through its command line and HTTP.
"""
