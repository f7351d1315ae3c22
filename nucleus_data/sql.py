"""Writes texts and names into SQL, so that nothing in them is read as SQL."""


def literal(text: str) -> str:
    """Returns a text as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Returns the name of a column, table or field as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
