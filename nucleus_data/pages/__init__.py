"""The report of a run: one self-contained HTML page, written to `runs/<run>/report.html`.

    url = write_report(corpus, "2026-01-31-a", plan["tables"], training_set=plan["set"])

`queries` and `content` ask DuckDB, `pictures` reads the few images that are shown, `runfiles` reads
what lies under `runs/`, `charts` draws SVG, `sections` makes of them what the page shows, and
`page` puts it together with `report.html.j2`.
Whatever is missing (no captions yet, no training set) is said on the page and is no error. Rows are
counted where they lie; only the shown examples come into Python.
"""

from nucleus_data.pages.report import write_report

__all__ = ["write_report"]
