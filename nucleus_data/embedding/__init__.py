"""Images and texts to vectors by an open_clip model, and scores from them.

    from nucleus_data.embedding import load_clip, load_heads
    clip, heads = load_clip("nano"), load_heads("nano")
    image = clip.images([picture])       # (1, D), unit length
    text = clip.texts(["A red ring."])   # (1, D), unit length
    image @ text.T                       # cosine
    heads.scores(image)                  # {"pleasantness": [...], "unsafe": [...], ...}

torch and open_clip are imported when a model is loaded, not before.
"""

from nucleus_data.embedding.clip import Clip, load_clip
from nucleus_data.embedding.heads import Heads, load_heads

__all__ = ["Clip", "Heads", "load_clip", "load_heads"]
