"""Pretended engines, right and wrong ones, for the truth tests of captions."""
