"""The database: what was answered, under which rule, and who changed what."""
