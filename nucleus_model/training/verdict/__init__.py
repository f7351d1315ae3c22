"""The verdict: whether one training set is better than another, and how sure that is."""
