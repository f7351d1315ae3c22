"""Copies of one picture compared with each other: which is the best, what is worse in the rest.

- `members`: which records belong together, and what is known of them.
- `order`: their order by signals, which of their files are compared, and what the table says.
- `views`, `register`, `aligned`: two decoded files, laid over each other.
- `terms`, from `detail`, `tones`, `scale` and `places`: what tells them apart, as named numbers.
- `evidence`, `faults`: which is better by these, and what is worse in the other.
- `ranking`: the order of all copies of a picture.
- `copies`: all of it, in the command's process, or, of many pairs, by workers (`partitioned`).
"""
