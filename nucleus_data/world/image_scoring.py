"""Scores a picture against the scene that it should show, by the shapes that are found in it."""

from collections import Counter
from dataclasses import dataclass, fields

from PIL import Image

from nucleus_data.world.object_detection import find_objects
from nucleus_data.world.scenes import Scene
from nucleus_data.world.segmentation import Array


@dataclass(frozen=True)
class ImageScore:
    """Counts over one picture, or over many added up (`sum(scores, ImageScore())`).

    Attributes:
        images: How many.
        objects: Objects that should be there.
        found: Objects found, right or not.
        right: Objects found with the kind and colour of one that should be there.
        placed: Right objects that are in their place too.
        images_right: Pictures with every object right and no other found.
        images_placed: Right pictures with every object in its place.
    """

    images: int = 0
    objects: int = 0
    found: int = 0
    right: int = 0
    placed: int = 0
    images_right: int = 0
    images_placed: int = 0

    def __add__(self, other: "ImageScore") -> "ImageScore":
        return ImageScore(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(ImageScore))
        )

    @property
    def missing(self) -> int:
        """Objects that should be there and are not found."""
        return self.objects - self.right

    @property
    def invented(self) -> int:
        """Objects found that should not be there."""
        return self.found - self.right

    @property
    def right_share(self) -> float:
        """Share of the objects that should be there that are right, 0 to 1."""
        return self.right / self.objects if self.objects else 0.0

    @property
    def placed_share(self) -> float:
        """Share of the objects that should be there that are right and in place, 0 to 1."""
        return self.placed / self.objects if self.objects else 0.0

    @property
    def images_right_share(self) -> float:
        """Share of the pictures with every object right and no other, 0 to 1."""
        return self.images_right / self.images if self.images else 0.0

    @property
    def images_placed_share(self) -> float:
        """Share of the pictures with every object right, in its place, and no other, 0 to 1."""
        return self.images_placed / self.images if self.images else 0.0


def score_image(image: Image.Image | Array, scene: Scene) -> ImageScore:
    """Scores a picture against the scene that it should show.

    Args:
        image: What `find_objects` takes.
        scene: The truth.

    Returns:
        The counts for this one picture. A recoloured object is one missing and one invented.

    Raises:
        ValueError: The array has another shape or type.
    """
    found = find_objects(image)
    true_names = Counter((s.kind, s.color) for s in scene.shapes)
    right = (true_names & Counter((f.kind, f.color) for f in found)).total()
    true_places = Counter((s.kind, s.color, s.place) for s in scene.shapes)
    placed = (true_places & Counter((f.kind, f.color, f.place) for f in found)).total()
    count = len(scene.shapes)
    return ImageScore(
        images=1,
        objects=count,
        found=len(found),
        right=right,
        placed=placed,
        images_right=int(right == count == len(found)),
        images_placed=int(placed == count == len(found)),
    )
