"""Twice the capacity: what is answered, what is refused, and how soon (README.md)."""
