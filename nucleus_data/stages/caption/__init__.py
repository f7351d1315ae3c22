"""Captions of the kept images, several variants each."""
