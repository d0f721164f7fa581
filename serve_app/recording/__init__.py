"""From an answer to the store: exposures wait, travel in batches, and are counted when lost."""
