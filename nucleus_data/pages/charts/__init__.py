"""Small SVG charts as pure functions: data in, markup out, every text escaped.

- `bars`: bars and columns of parts, histograms; `line_chart`: lines over common axes;
  `forest_plot`: differences with their intervals.
- `axis`: round numbers along an axis, and how they are written.

Colours are CSS classes (`fill-kept`, `line-a`, …) that the page's style sheet defines for light and
dark, so that a chart needs no script and no colour of its own.
"""
