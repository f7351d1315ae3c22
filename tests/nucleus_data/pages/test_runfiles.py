import io
import json

import numpy as np
from PIL import Image

from nucleus_data.pages.runfiles import stage_times
from tests.support.reported import Text


def test_training_seconds_and_failures(whole):
    grid = np.full((2 * 8 + 3, 2 * 8 + 3, 3), 255, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grid).save(buffer, "PNG")
    folder = "runs/first/quick_train"
    whole.corpus.store.put(f"{folder}/samples.png", buffer.getvalue())
    facts = {"rows": ["a red <circle>", "a dog"], "columns": [1, 2], "cell_height": 8, "padding": 1}
    whole.corpus.store.put(f"{folder}/samples.json", json.dumps(facts).encode())
    summary = {"preset": "nano", "parameters": 1234567, "steps": 50}
    whole.corpus.store.put(f"{folder}/summary.json", json.dumps(summary).encode())
    parsed = Text(whole.page())
    text = parsed.text
    assert "preset nano · 1,234,567 parameters · 50 steps" in text
    assert "final loss 1.25 held-out" in text
    assert "1 loss not finite" in text
    assert "a red <circle>" in text
    assert sum(1 for _, a in parsed.tags if str(a.get("src")).startswith("data:image/png")) == 2
    assert "4.0 s in all stages" in text
    assert "inspect shard 7: OSError" in text
    assert "8 of them in a hurry" in text
    assert "inspect rows that failed: unreadable 1" in text
    assert "1 line of the run's files cut off" in text
    assert "nucleus all corpus=c storage_options.secret=… x=1" in text


def test_reasons_of_a_stage_are_added_up_and_the_rarest_are_counted():
    lines = [
        {"stage": "ingest", "reasons": {"http_404": 3, "dns": 1}},
        {"stage": "ingest", "reasons": {"http_404": 2000, **{f"http_{n}": 1 for n in range(20)}}},
    ]
    (ingest,) = stage_times(lines)
    shown = ingest.failures()
    assert shown.startswith("http_404 2,003, dns 1, http_0 1, ")
    assert shown.endswith(", 10 more")
