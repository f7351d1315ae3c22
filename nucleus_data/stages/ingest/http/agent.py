"""Who we say we are: the same words in every request, with a contact if there is one."""

from importlib.metadata import PackageNotFoundError, version

TOKEN = "nucleus-data"  # what robots.txt and named directives call us
MOST_HOSTS = 1000  # of a list without a contact


def user_agent(contact: str | None) -> str:
    """The header `User-Agent`."""
    try:
        number = version("nucleus-data")
    except PackageNotFoundError:
        number = "0"
    return f"{TOKEN}/{number}" + (f" (+{contact})" if contact else "")
