"""Captions from files: `files` finds them and their columns, `join` their records."""
