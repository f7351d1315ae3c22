"""Lists the rows of a source; one module for each kind of source, with a function `list_<kind>`.

`locate` determines the kind of a source and its files. `spool` and `sql` hold the listed rows in
temporary files and DuckDB queries. `formats` recognises image files by name or content.
"""
