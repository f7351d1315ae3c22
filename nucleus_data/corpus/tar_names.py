"""Names of a corpus's tars, and of members that are no pictures."""

# The last member of a tar that ingest wrote: what its pictures do not tell.
OUTCOMES = "outcomes.json"
# Of a member whose picture was taken down: `<id>.taken_down`, with zeros in the picture's place.
TAKEN_DOWN_SUFFIX = ".taken_down"


def tar_name(shard: int) -> str:
    """Path of an image shard's tar below the corpus."""
    return f"images/{shard:06d}.tar"
