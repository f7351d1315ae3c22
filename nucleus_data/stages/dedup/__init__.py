"""Near-duplicate images: which records show the same picture, and which of them stays.

Four modules of pure functions over numpy and Arrow, in the order of their use:

- `search`: all pairs of 64-bit codes within a Hamming distance, exactly (no pair is missed).
- `confirm`: a second, 256-bit hash and the aspect ratio decide whether a candidate pair counts.
- `pairs`: from the table of hashes to the `dedup` table of confirmed pairs.
- `walk`: from that table, the rules and a ranking to the survivors.

`compare` and `select` need whole components of pairs: `linked` finds them, in partitions on files,
where there are more pairs than a process holds (`stars` has the steps).

**Classes.** A picture that was copied a million times must not become 10^12 pairs. Records whose
hashes and aspect ratio are all *equal* (or whose bytes are) form a class: whatever holds for one
member holds for each. So only classes are compared, and the `dedup` table writes a class as a star:
each member is linked to a representative once. In that table

- a row with `exact`, or with all three differences zero, joins two members of one class, and by
  this all the members that such rows connect, a clique;
- any other row joins two classes, by their representatives: each member of one is a duplicate of
  each of the other.

`walk.walk` reads it so, and its result equals a walk over all the pairs written out. Aspect
ratios are compared after rounding (`confirm.rounded_aspect`), so that "equal" is transitive.
"""
