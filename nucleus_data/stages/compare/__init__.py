"""The stage `compare`: compares the copies of a picture, to find the best and the others' faults.

- `members` finds which records are copies of each other, and reads what is needed to compare them.
- `order` sorts them by their signals, chooses the files to compare, and makes the table's rows.
- `views`, `register` and `aligned` decode two files and put them on one grid.
- `terms`, from `detail`, `tones`, `scale` and `places`, computes how they differ, as named numbers.
- `evidence` and `faults` decide from these which is better, and name the faults of the other.
- `ranking` ranks all copies of a picture.
- `copies` runs all of it: in the command's process, or by workers (`partitioned`) if there are many
  pairs.
"""
