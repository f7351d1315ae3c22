"""`score`: heads, tags and similarities, of stored vectors alone."""
