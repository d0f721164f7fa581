"""What answers users, without Ray: `serving` gives it pools and a process to live in."""
