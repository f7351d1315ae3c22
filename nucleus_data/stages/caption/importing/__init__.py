"""Imports captions from files: `files` finds these and their columns, `join` their records."""
