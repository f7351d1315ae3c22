"""Pairs the pictures of a tar with their captions and JSON files.

Names are matched by the whole stem, or else by the webdataset key (the name up to the first dot):

- A text `22.05.txt` or `22.05.png.txt` belongs to `22.05.png`. A picture in the same run (adjacent
  members with one webdataset key) is preferred; otherwise, it may be anywhere in the tar, as some
  tars contain all pictures first and then all texts.
- A text named by the webdataset key (`b.txt`) also belongs to `b.v2.png`, if no picture is called
  `b` and only one picture has that key. Again, the same run is preferred.
- If several pictures and texts outside of their runs have the same name, they are paired in order:
  the second `a.txt` belongs to the second `a.jpg`.

A second picture of a sample (`x.mask.png` or `x.png` beside `x.jpg`) never gets the sample's text;
it is a record of its own. It is not dropped, since its name does not reveal whether it is a mask or
a picture (`x.1.jpg`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nucleus_data.stages.ingest.listing.formats import CAPTION_ENDINGS, side_file, stem
from nucleus_data.stages.ingest.listing.tar_walk import Member


@dataclass(slots=True)
class Sample:
    """A picture with its caption and its columns.

    Attributes:
        picture: The picture's member.
        place: The picture's position among the tar's members.
        run: Number of its run: adjacent members with the same webdataset key.
        key: The sample's key, unique among the pictures with its webdataset key.
        caption: The member with its caption, if there is one.
        json: The member with its columns, if there is one.
    """

    picture: Member
    place: int
    run: int
    key: str = ""
    caption: Member | None = None
    json: Member | None = None

    @property
    def stem(self) -> str:
        """The picture's name without its last extension."""
        name = self.picture.name.encode("utf-8", "surrogateescape")
        return stem(name).decode("utf-8", "surrogateescape")


@dataclass
class Paired:
    """The samples with one webdataset key.

    Attributes:
        samples: One sample per picture, in the tar's order.
        lost: Texts that belong to no picture.
        further: Texts whose picture already has a text of the same kind.
        seconds: Samples whose picture is a second one of another sample, and has no text of its
            own.
    """

    samples: list[Sample] = field(default_factory=list)
    lost: list[Member] = field(default_factory=list)
    further: list[Member] = field(default_factory=list)
    seconds: list[Sample] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Text:
    """A caption or JSON member, the picture's stem or name in its own name, and its run."""

    member: Member
    wanted: str
    run: int


def paired(members: Iterable[tuple[int, int, Member]]) -> Paired:
    """Pairs the members of a tar that share a webdataset key.

    Args:
        members: (place, run, member) of the pictures, captions and JSON files, in the tar's order.
            Members of one run are adjacent.
    """
    found = Paired()
    captions: list[_Text] = []
    jsons: list[_Text] = []
    for place, run, member in members:
        if (side := side_file(member.name)) is not None:
            into = captions if side[1] in CAPTION_ENDINGS else jsons
            into.append(_Text(member, side[0], run))
        else:
            found.samples.append(Sample(member, place, run))
    _give_keys(found.samples)
    for texts, kind in ((captions, "caption"), (jsons, "json")):
        _pair(found, texts, kind)
    found.seconds = _seconds(found.samples)
    return found


def _pair(found: Paired, texts: Sequence[_Text], kind: str) -> None:
    """Assigns the texts of one kind (`caption`, `json`) to pictures, at most one to each."""
    pictures = _Pictures(found.samples)
    left = []
    for text in texts:
        near = pictures.beside(text)
        if near is None:
            left.append(text)
        elif not _given(near, text, kind):
            found.further.append(text.member)
    left = [
        text
        for text in left
        if (near := pictures.of_run(text)) is None or not _given(near, text, kind)
    ]
    # Pair the remaining texts in order: the second `a.txt` with the second `a.jpg` without a text.
    free: dict[str, list[Sample]] = {}
    turns: Counter[str] = Counter()
    for text in left:
        candidates = pictures.anywhere(text)
        if not candidates:
            found.lost.append(text.member)
            continue
        if text.wanted not in free:
            free[text.wanted] = [s for s in candidates if getattr(s, kind) is None]
        turn, waiting = turns[text.member.name], free[text.wanted]
        turns[text.member.name] += 1
        if turn >= len(waiting) or not _given(waiting[turn], text, kind):
            found.further.append(text.member)


class _Pictures:
    """The pictures with one webdataset key, indexed by stem, name and run."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._beside: dict[tuple[int, str], Sample] = {}
        self._stems: dict[str, list[Sample]] = defaultdict(list)
        self._names: dict[str, list[Sample]] = defaultdict(list)
        self._runs: dict[int, list[Sample]] = defaultdict(list)
        self._keys = {sample.picture.key for sample in samples}
        for sample in samples:
            stem, name = sample.stem, sample.picture.name
            self._names[name].append(sample)
            # In a run, only the first picture with a stem may get the stem's text. In other runs,
            # only pictures with the first one's name may: `x.png` is a second picture of `x.jpg`.
            if self._beside.setdefault((sample.run, stem), sample) is sample:
                self._runs[sample.run].append(sample)
                if not self._stems[stem] or self._stems[stem][0].picture.name == name:
                    self._stems[stem].append(sample)
        for sample in samples:
            self._beside.setdefault((sample.run, sample.picture.name), sample)

    def beside(self, text: _Text) -> Sample | None:
        """Returns the picture in the text's run whose stem or name the text has."""
        return self._beside.get((text.run, text.wanted))

    def of_run(self, text: _Text) -> Sample | None:
        """Returns the picture of the run of a text named by the key, if the run has one stem."""
        samples = self._runs.get(text.run, [])
        return samples[0] if len(samples) == 1 and text.wanted in self._keys else None

    def anywhere(self, text: _Text) -> Sequence[Sample]:
        """Returns the pictures in any run to which a text may belong, by stem, name or key."""
        by_name = self._stems.get(text.wanted) or self._names.get(text.wanted)
        if by_name or text.wanted not in self._keys or len(self._stems) > 1:
            return by_name or ()
        return next(iter(self._stems.values()))


def _given(sample: Sample, text: _Text, kind: str) -> bool:
    """Assigns a text to a picture; returns False if it already has one of that kind."""
    if getattr(sample, kind) is not None:
        return False
    setattr(sample, kind, text.member)
    return True


def _give_keys(samples: Sequence[Sample]) -> None:
    """Sets the samples' keys.

    A key is the webdataset key if that identifies one picture, otherwise the whole stem; a key that
    is taken gets `.1`, `.2`, ... Record ids are made from keys, so the webdataset key is kept where
    it suffices, to keep ids stable.
    """
    stems = {sample.stem for sample in samples}
    for sample in samples:
        key = sample.picture.key
        sample.key = printable(key if len(stems) == 1 or sample.stem == key else sample.stem)
    taken = {sample.key for sample in samples}
    given: Counter[str] = Counter()
    for sample in samples:
        key = sample.key
        if given[key]:
            while f"{key}.{given[key]}" in taken:
                given[key] += 1
            sample.key = f"{key}.{given[key]}"
            taken.add(sample.key)
        given[key] += 1


def _seconds(samples: Sequence[Sample]) -> list[Sample]:
    """Returns the second pictures of other samples that have no text of their own.

    These are pictures that share their stem with an earlier one of another name, or whose
    webdataset key is the stem of another picture.
    """
    stems = {sample.stem for sample in samples}
    names: dict[str, str] = {}
    found = []
    for sample in samples:
        first = names.setdefault(sample.stem, sample.picture.name) == sample.picture.name
        own = first and (sample.stem == sample.picture.key or sample.picture.key not in stems)
        if not own and sample.caption is None and sample.json is None:
            found.append(sample)
    return found


def printable(name: str) -> str:
    """Returns a name as valid text; a byte that is not UTF-8 becomes a hexadecimal escape."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
