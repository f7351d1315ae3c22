"""Self-contained HTML pages of tables and run files; they only show, and decide nothing.

    url = write_report(corpus, "2026-01-31-a", plan["tables"], training_set=plan["set"])

- `report`, `comparison`, `pairs` and others are the pages, each with a template in `templates/`.
- `sections` and `shown` make the sections of the report, each a small dictionary; `queries` and
  `content` query DuckDB for them.
- `pictures` reads the few images that are shown, `charts/` draws SVG, `runfiles` reads files under
  `runs/`.

Anything that is missing (no captions yet, no training set) is mentioned on the page, and is not an
error. DuckDB counts the rows; only the examples that are shown become Python objects.
"""

from nucleus_data.pages.report import write_report

__all__ = ["write_report"]
