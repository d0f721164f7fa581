"""What happened, how the versions differ, which one is better: the store's figures, read by the
statistics of `serve_app.evidence`. Reports are JSON; nothing here writes."""
