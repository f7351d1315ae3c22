"""What to submit to a cluster: each module is its list of stages; copy one to make your own."""
