"""Cheap signals of every image, measured once, on the CPU."""
