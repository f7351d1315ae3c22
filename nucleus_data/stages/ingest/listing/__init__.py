"""Where a source's rows come from: one module a kind of source, each with a function `list_<kind>`.

`locate` says what a source is; `spool` and `sql` hold rows on their way; `formats` knows
extensions.
"""
