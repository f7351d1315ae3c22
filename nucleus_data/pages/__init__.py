"""Tables and run files as HTML pages, each self-contained; they decide nothing.

    url = write_report(corpus, "2026-01-31-a", plan["tables"], training_set=plan["set"])

- `report`, `comparison`, `pairs`: the pages, each with a template in `templates/`.
- `sections`, `shown`: what the report shows, each a small dictionary; `queries` and `content` ask
  DuckDB.
- `pictures`: the few images that are shown; `charts/`: SVG; `runfiles`: what lies under `runs/`.

Whatever is missing (no captions yet, no training set) is said on the page and is no error. Rows are
counted where they lie; only the shown examples come into Python.
"""

from nucleus_data.pages.report import write_report

__all__ = ["write_report"]
