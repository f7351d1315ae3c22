"""Answers to questions about a corpus; they write nothing but a page."""
