"""The user agent of all requests, with a contact if there is one."""

from importlib.metadata import PackageNotFoundError, version

TOKEN = "nucleus-data"  # our product token in robots.txt and X-Robots-Tag
MOST_HOSTS = 1000  # maximum number of hosts in a list without a contact


def user_agent(contact: str | None) -> str:
    """Returns the value of the header `User-Agent`."""
    try:
        number = version("nucleus-data")
    except PackageNotFoundError:
        number = "0"
    return f"{TOKEN}/{number}" + (f" (+{contact})" if contact else "")
