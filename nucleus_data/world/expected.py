"""Which rule should find which planted fault, and which copies a hash should find.

Rules are named as the recipes name them, and reasons as the reader gives them; whoever measures a
recipe compares what its rules found with these lists.
"""

from nucleus_data.world.plan import COPY_FAULTS

# Fault -> the rules (flags among them) or the reader's reasons that should name it.
OWN: dict[str, tuple[str, ...]] = {
    "truncated": ("truncated",),
    "corrupt": ("corrupt", "truncated", "damaged_data"),
    "html": ("not_an_image",),
    "bomb": ("too_many_pixels",),
    "mislabelled": ("mislabelled",),
    "animated": ("animated",),
    "blank": ("blank",),
    "over_exposed": ("too_bright",),
    "under_exposed": ("too_dark",),
    "blurred": ("blurred", "blank"),  # a wall of bricks becomes one colour
    "tiny": ("too_small",),
    "huge": ("too_large",),
    "extreme_aspect": ("extreme_aspect",),
    "over_compressed": ("over_compressed",),
}
# Copies that a border shows too, by the flag; as copies they are counted like the others.
FRAMED = ("bordered", "banner")
RARE = ("cmyk", "sixteen_bit", "palette", "alpha", "profile", "oriented")
TWIN = "oriented_twin"
PLANTED = (*OWN, *RARE, *COPY_FAULTS)
# Over-exposed as planted, but most pixels have all their channels below white: a dark scene that
# was lifted lost nothing, and nothing shows it. (The laptop's `too_bright` reads
# `clipped_share`, the same measure: it is asked which of the clipped ones have no darks left.)
PALE = "over_exposed_unclipped"
CLIPPED = 0.5

# What a rule finds rightly beside its own faults.
RIGHTLY: dict[str, tuple[str, ...]] = {
    "truncated": ("corrupt",),
    "damaged_data": ("truncated",),
    "blank": ("under_exposed", "over_exposed"),  # a few levels of contrast are left
    "too_dark": ("blank",),
    # A third brighter, and beige is clipped; what is transparent is white (and a rare file lost).
    "too_bright": ("blank", "brighter", PALE, "alpha"),
    # Nothing to see; and what was stretched up to thirty times.
    "blurred": ("blank", "over_exposed", "under_exposed", "huge", "extreme_aspect"),
    "over_compressed": ("blank", "over_exposed", "under_exposed"),  # hardly any bytes a pixel
    "extreme_aspect": ("huge",),  # 16:1
    # What was made smaller may have become too small.
    "too_small": ("extreme_aspect", "animated", "resized", "cropped", "cropped_more"),
    # Damage may leave a grey lower part, and what is clipped is flat up to an edge.
    "framed": (*FRAMED, "corrupt", "under_exposed", "over_exposed"),
}
# Rules about the file, not about how the picture looks: whoever they reject is no false alarm.
ABOUT_FILES = ("too_small", "too_large", "extreme_aspect", "format", "mislabelled")

CHAINS = ("chain_start", "chain")
# Copies that no hash of the whole picture finds: their share is measured, and has no goal. Brighter
# ones have none either: where they clip, shapes are gone, and up to 14 bits of the hash turn.
NEED_EMBEDDINGS = ("cropped", "cropped_more", "logo")
CLIPS = ("brighter",)
TURNED_OR_FRAMED = ("mirrored", *FRAMED)  # for the canonical hash
