"""What `bench_fetch` measures: its server, what a way costs, and planning."""
