"""The migrations: `m`, a number, and what it does. A released one never changes."""
