"""What `bench_checks` measures the caption checks with."""
