"""Small SVG charts as pure functions from data to markup, with all text escaped.

- `bars` draws bars, stacked columns, and histograms; `line_chart` draws lines over common axes;
  `forest_plot` draws differences with their intervals.
- `axis` has round numbers along an axis, and their formatting.

Colours are CSS classes (`fill-kept`, `line-a`, …) that the page's style sheet defines for light and
dark mode, so that a chart needs no script and no colour of its own.
"""
