"""From an answer to the store: what is recorded waits, travels in batches, is counted when lost."""
