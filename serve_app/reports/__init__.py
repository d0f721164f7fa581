"""Reports on traffic and experiments: sums from the store, evaluated by `serve_app.evidence`.

Reports are JSON. This package only reads the store.
"""
