"""Delivery of exposures, shadow pairs, feedback and kept images to the store, in batches."""
