"""Reads upstream files by lines, rows and columns, such that a damaged one does not affect others.

The callers interpret the content, as lists of pictures or as imported captions.
"""
