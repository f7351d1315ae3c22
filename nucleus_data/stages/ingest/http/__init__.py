"""How a shard's URLs are fetched: which may be asked, and img2dataset in a child process."""
