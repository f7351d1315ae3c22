"""What the report's tests share: corpora in all states, written row by row, and a page's reader."""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from nucleus_data.corpus import Corpus
from nucleus_data.corpus.tables import KEY_FIELDS, Table, table_schema
from nucleus_data.hashing import record_id
from nucleus_data.pages import write_report
from nucleus_data.stages.caption.stage import SCHEMA as CAPTION_SCHEMA
from nucleus_data.stages.dedup.rows import PAIRS
from nucleus_data.stages.select.decide import DECISION_SCHEMA
from nucleus_data.world.corpora import RECORDS

HASH = "0123456789abcdef"
NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
EVIL = "<script>alert('caption')</script>"
EVIL_NAME = "dir/<script>alert(1)</script>.jpg"
SET = "sets/main/0123456789abcdef"

SELECTION = table_schema(DECISION_SCHEMA, error=False)
CAPTION = table_schema(CAPTION_SCHEMA)
TONE = pa.schema([*KEY_FIELDS, ("luma_mean", pa.float32()), ("error", pa.string())])


def jpeg(red: int) -> bytes:
    """A small JPEG, red by a number."""
    buffer = io.BytesIO()
    Image.new("RGB", (48, 32), (red, 90, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


@dataclass
class Made:
    """A corpus that is written row by row, and its page."""

    corpus: Corpus
    tables: dict[str, str]
    ids: list[str]

    def write(self, name: str, schema: pa.Schema, rows: list[dict]) -> None:
        self.tables[name] = HASH
        for shard in sorted({row["shard"] for row in rows}):
            part = pa.Table.from_pylist([r for r in rows if r["shard"] == shard], schema)
            Table(self.corpus.store, name, HASH).append(shard, part, {})

    def key(self, number: int) -> dict:
        return {"shard": 0, "row": number, "id": self.ids[number]}

    def caption(self, number: int, text: str | None, **values: object) -> dict:
        plain = {
            "source": "synthesized",
            "model": "nano",
            "prompt": "short",
            "engine": "vllm",
            "engine_version": "0.11.0",
            "finish_reason": "stop",
            "tokens": 9,
        }
        return {**self.key(number), "caption": text, **plain, **values}

    def write_caption(self, variant: str, rows: list[dict]) -> None:
        self.write(f"caption.{variant}", CAPTION, rows)

    def page(self, training_set: str | None = None, run: str = "first") -> str:
        url = write_report(
            self.corpus, run, self.tables, training_set=training_set, made_at=NOON, thumbnails=3
        )
        assert url == self.corpus.store.url(f"runs/{run}/report.html")
        return self.corpus.store.read(f"runs/{run}/report.html").decode()


def make(uri, names: list[str | None], captions: list[str | None] | None = None) -> Made:
    """A corpus with one shard; a name of None is a failed download."""
    corpus = Corpus(str(uri), create=True)
    ids = [record_id("test", str(n)) for n in range(len(names))]
    made = Made(corpus, {}, ids)
    buffer, rows = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for n, name in enumerate(names):
            row = {**made.key(n), "source": "test", "key": name or f"http://host/{n}"}
            if captions:
                row["source.caption"] = captions[n]
            if name is None:
                row |= {"error": "http_404", "detail": "no such <page>", "retryable": False}
            else:
                image = b"GIF89a broken" if name.endswith("broken.gif") else jpeg(20 * n)
                info = tarfile.TarInfo(f"{ids[n]}.jpg")
                info.size = len(image)
                offset = buffer.tell() + 512
                tar.addfile(info, io.BytesIO(image))
                row |= {"file": info.name, "offset": offset, "size": len(image)}
                row["sha256"] = hashlib.sha256(image).hexdigest()
            rows.append(row)
    corpus.store.create("images/000000.tar", buffer.getvalue())
    Table(corpus.store, "records", corpus.records.config_hash).append(
        0, pa.Table.from_pylist(rows, RECORDS), {}
    )
    made.tables["records"] = corpus.records.config_hash
    return made


def whole_corpus(uri) -> Made:
    """Ten records in all five states, with everything that a run can leave."""
    names = [EVIL_NAME, *(f"{n}.jpg" for n in range(1, 8)), "killer.jpg", None]
    names[3] = "broken.gif"
    made = make(uri, names, [EVIL, "a plain caption", *[None] * 8])
    rejected = {"state": "rejected", "reasons": ["small"], "conditions": ["width < 64"]}
    decisions = [
        {"state": "kept", "flags": ["soft"]},
        {"state": "kept", "nulls": ["blur"]},
        {"state": "kept"},
        {**rejected, "values": '{"width": 48}'},
        {
            **rejected,
            "reasons": ["small", "dark"],
            "conditions": ["width < 64", "luma_mean < 0.05"],
            "values": '{"width": 48, "luma_mean": 0.0123}',
        },
        {"state": "duplicate", "duplicate_of": made.ids[0]},
        {"state": "duplicate", "duplicate_of": made.ids[0]},
        {"state": "pending", "pending_on": ["embed.siglip"]},
        {"state": "failed", "reasons": ["corrupt"], "retryable": False},
        {"state": "failed", "reasons": ["http_404"], "retryable": True},
    ]
    made.write("selection", SELECTION, [{**made.key(n), **d} for n, d in enumerate(decisions)])
    pairs = [(0, 5, 3, 21, False), (6, 0, 0, 0, True)]
    made.write(
        "dedup",
        PAIRS,
        [
            {
                **made.key(a),
                "other_shard": 0,
                "other_row": b,
                "other_id": made.ids[b],
                "distance": near,
                "distance256": far,
                "exact": exact,
            }
            for a, b, near, far, exact in pairs
        ],
    )
    made.write(
        "inspect.tone",
        TONE,
        [{**made.key(n), "luma_mean": n / 9} for n in range(8)]
        + [{**made.key(8), "error": "corrupt"}],
    )
    made.write_caption(
        "short",
        [
            made.caption(0, EVIL),
            made.caption(1, "one two three", finish_reason="length"),
            made.caption(2, None, error="empty_caption", model=None, engine=None),
        ],
    )
    store = made.corpus.store
    manifest = pa.table(
        {
            "path": ["64/1x1/000000.tar", "64/1x1/000001.tar", "64/4x3/000000.tar"],
            "resolution": [64] * 3,
            "aspect": ["1x1", "1x1", "4x3"],
            "width": [64, 64, 72],
            "height": [64, 64, 56],
            "samples": [1, 0, 1],
            "bytes": [1000, 200, 3000],
            "sha256": ["0" * 64] * 3,
            "index_sha256": ["0" * 64] * 3,
        }
    )
    store.put(f"{SET}/manifest.parquet", parquet(manifest))
    out = pa.table({"id": [made.ids[2]], "resolution": [64], "reason": ["too_small"]})
    store.put(f"{SET}/left_out.parquet", parquet(out))
    plan = {
        "run": "first",
        "command": "nucleus all corpus=c storage_options.secret=hunter2 x=1",
        "version": "0.1.0",
    }
    store.put("runs/first/plan.json", json.dumps(plan).encode())
    times = [
        {
            "stage": "inspect",
            "seconds": 2.5,
            "shards": 1,
            "rows": 9,
            "done": 8,
            "failed": 1,
            "reasons": {"unreadable": 1},
            "told": ["8 of them in a hurry"],
        },
        {"stage": "inspect", "seconds": 1.5, "rows": 1, "seconds_by_phase": {"decode": 1.0}},
    ]
    store.put("runs/first/stages.jsonl", lines(times) + b'{"stage": "cut of')
    failure = {"stage": "inspect", "shard": 7, "error": "OSError: <gone>", "traceback": "line 1"}
    store.put("runs/first/failures.jsonl", lines([failure]))
    metrics = [{"step": n, "loss": 2.0 - n / 100} for n in range(50)]
    metrics += [{"step": 49, "holdout_loss": 1.25}, {"step": 50, "loss": float("nan")}]
    store.put("runs/first/quick_train/metrics.jsonl", lines(metrics))
    return made


def lines(objects: list[dict]) -> bytes:
    """Objects as JSON, one a line."""
    return b"".join(json.dumps(o).encode() + b"\n" for o in objects)


def parquet(table: pa.Table) -> bytes:
    """A table as Parquet bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


class Text(HTMLParser):
    """The visible text, and every tag with its attributes; checks that tags are closed in order."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)
