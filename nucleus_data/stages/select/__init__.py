"""The stage `select`: applies rules to signals, then drops duplicates; the result is the ledger.

- `settings`, `check`, `rules`, `tiers`, `curriculum`: the configuration, parsed and tried on a
  record of NULLs. SQL is restricted by `expression` and `allowed`, and runs in a `database` without
  access to files or hosts.
- `judge` evaluates the rules on records; `decide` derives each record's state from the answers.
- `plan` has the inputs of a selection and its groups of shards; `ledger` writes the table.
- `duplicates` decides which of several duplicates stays: by `walking` in one process, or if there
  are many pairs by `partitioned` on all workers, over the components that `dedup.linked` finds.
- `stage` runs all of it in order; `compare` and `what_if` compare two selections.
"""
