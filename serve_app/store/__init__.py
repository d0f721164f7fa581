"""The database of exposures, shadow pairs, feedback, reviews, revisions and the audit log."""
