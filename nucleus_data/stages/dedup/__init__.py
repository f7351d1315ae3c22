"""Near-duplicate images: finds the records that show the same picture, and which of them stays.

There are four modules of pure functions on numpy arrays and Arrow tables, in the order of their
use:

- `search` finds all pairs of 64-bit codes within a Hamming distance, exactly (no pair is missed).
- `confirm` decides whether a candidate pair counts, by a second, 256-bit hash and the aspect ratio.
- `pairs` makes the table `dedup` of confirmed pairs from the table of hashes.
- `walk` finds the survivors, from that table, the rules and a ranking.

`compare` and `select` need whole connected components of pairs. If there are more pairs than one
process can hold, `linked` finds the components in partitions on files, by the steps in `stars`.

**Classes.** A picture that was copied a million times must not become 10^12 pairs. Records whose
hashes and aspect ratio are all *equal*, or whose bytes are, form a class: whatever holds for one
member holds for each. So only classes are compared, and the table `dedup` stores a class as a star,
where each member is linked once to a representative. In that table

- a row with `exact`, or with all three differences zero, joins two members of one class. All
  records that such rows connect are one class, and duplicates of each other;
- a row without distances lists a member of a *crowd* of near, unequal classes, beside the first
  record of the crowd: most pairs among its members are not stored (`crowds`);
- any other row joins two classes, by their representatives: each member of one is a duplicate of
  each member of the other.

`walk.walk` reads the table in this way, and its result equals that of a walk over all pairs. Aspect
ratios are compared after rounding (`confirm.rounded_aspect`), so that "equal" is transitive.
"""
