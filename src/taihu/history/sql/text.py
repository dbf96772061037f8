"""Words of SQL from words of people."""


def quote(text: str) -> str:
    """A string as SQL.

    >>> quote("o'clock")
    "'o''clock'"
    """
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """A name as SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
