"""Training sets as anyone finds them: aspect buckets, and the layout of a set's folder."""
