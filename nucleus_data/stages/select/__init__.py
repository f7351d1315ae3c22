"""Deciding: rules over signals, then the duplicate walk. The result is the ledger.

- `settings`, `check`, `rules`, `tiers`: what is asked of each record, parsed and tried, in a
  `database` that reaches nothing else.
- `judge`: what the rules answer; `decide`: each record's state from that.
- `plan`: who decides about which shards; `ledger`: the table.
- `duplicates`: who of them stays, by `walking` in one process, or `partitioned` over all workers,
  by the components that `stars` finds.
- `stage`: all of it in order; `compare`, `what_if`: two selections beside each other.
"""
