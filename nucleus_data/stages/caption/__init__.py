"""The stage `caption`: generates captions of the kept images, in several variants."""
