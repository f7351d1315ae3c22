"""Which picture of a tar has which caption and which JSON: by whole stem, else as webdataset does.

A text `22.05.txt` or `22.05.png.txt` is that of `22.05.png`: beside it, else anywhere in the tar
(all pictures first, then all texts). A text named by a webdataset key, the name up to the first dot
(`b.txt`), is also that of `b.v2.png`, if no picture is called `b` and only one has that key: beside
it before anywhere. The second `a.txt` that stands apart is that of the second `a.jpg`.

A second picture of a sample (`x.mask.png` or `x.png` beside `x.jpg`) never gets the sample's text:
it is a record of its own. A name cannot tell a mask from a picture (`x.1.jpg`), so none is dropped.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nucleus_data.stages.ingest.listing.formats import CAPTION_ENDINGS, side_file, stem
from nucleus_data.stages.ingest.listing.tar_walk import Member


@dataclass(slots=True)
class Sample:
    """A picture, and what belongs to it.

    Attributes:
        picture: The picture's member.
        place: Which member of the tar it is.
        run: Number of the run of neighbours with one webdataset key that it is in.
        key: Its key, unique among the pictures of its webdataset key.
        caption: The member that holds its caption.
        json: The member that holds its columns.
    """

    picture: Member
    place: int
    run: int
    key: str = ""
    caption: Member | None = None
    json: Member | None = None

    @property
    def stem(self) -> str:
        """The picture's name without its last ending."""
        name = self.picture.name.encode("utf-8", "surrogateescape")
        return stem(name).decode("utf-8", "surrogateescape")


@dataclass
class Paired:
    """The samples of one webdataset key.

    Attributes:
        samples: One for each picture, in the tar's order.
        lost: Texts that belong to no picture.
        further: Texts whose picture has one already.
        seconds: Samples that are a second picture of another, without a text of their own.
    """

    samples: list[Sample] = field(default_factory=list)
    lost: list[Member] = field(default_factory=list)
    further: list[Member] = field(default_factory=list)
    seconds: list[Sample] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Text:
    """A caption or JSON member: what it is for (a stem or a name), and where it stands."""

    member: Member
    wanted: str
    run: int


def paired(members: Iterable[tuple[int, int, Member]]) -> Paired:
    """Pairs the members of a tar that share a webdataset key.

    Args:
        members: Pictures, captions and JSON, in the tar's order: place, run, member. Members of one
            run stand side by side.
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
    """Gives the texts of one kind (`caption`, `json`) to the pictures; each has one at most."""
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
    # The second `a.txt` that stands by itself is that of the second `a.jpg` without one.
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
    """The pictures of one webdataset key, found by what a text says that it is for."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._beside: dict[tuple[int, str], Sample] = {}
        self._stems: dict[str, list[Sample]] = defaultdict(list)
        self._names: dict[str, list[Sample]] = defaultdict(list)
        self._runs: dict[int, list[Sample]] = defaultdict(list)
        self._keys = {sample.picture.key for sample in samples}
        for sample in samples:
            stem, name = sample.stem, sample.picture.name
            self._names[name].append(sample)
            # Only the first picture of a stem among its neighbours may get the stem's text, and
            # elsewhere only those with the first one's name: `x.png` is a second one of `x.jpg`.
            if self._beside.setdefault((sample.run, stem), sample) is sample:
                self._runs[sample.run].append(sample)
                if not self._stems[stem] or self._stems[stem][0].picture.name == name:
                    self._stems[stem].append(sample)
        for sample in samples:
            self._beside.setdefault((sample.run, sample.picture.name), sample)

    def beside(self, text: _Text) -> Sample | None:
        """The picture with the text's stem, or with the name that it carries, in its run."""
        return self._beside.get((text.run, text.wanted))

    def of_run(self, text: _Text) -> Sample | None:
        """The picture of the text's run, for a text named by the key, if there is one stem."""
        samples = self._runs.get(text.run, [])
        return samples[0] if len(samples) == 1 and text.wanted in self._keys else None

    def anywhere(self, text: _Text) -> Sequence[Sample]:
        """The pictures that a text may be for, by its stem, its name, or the key."""
        by_name = self._stems.get(text.wanted) or self._names.get(text.wanted)
        if by_name or text.wanted not in self._keys or len(self._stems) > 1:
            return by_name or ()
        return next(iter(self._stems.values()))


def _given(sample: Sample, text: _Text, kind: str) -> bool:
    """Gives a text to a picture; False if it has one of that kind."""
    if getattr(sample, kind) is not None:
        return False
    setattr(sample, kind, text.member)
    return True


def _give_keys(samples: Sequence[Sample]) -> None:
    """The webdataset key where it means one picture, else the whole stem; `.1` if it is taken.

    Ids are made of keys. Where a webdataset key is enough it stays, so that ids stay.
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
    """Pictures without a text of their own beside one with their stem, or named by their key."""
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
    """A name as text; a byte that is no UTF-8 is written as a backslash, x and two digits."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
