"""Vectors of images and captions, and scores from them."""
