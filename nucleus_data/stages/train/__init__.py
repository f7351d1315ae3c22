"""Trains on a training set on a cluster, and keeps a copy of an unfinished run in the corpus."""
