"""A process that fetches URLs of this machine, to be killed: `-m … LIST FOLDER OUTPUT`."""

import json
import sys
from pathlib import Path

from tests.support.web import fetched


def main() -> None:
    """Writes what came, by row."""
    urls, folder, output = (Path(argument) for argument in sys.argv[1:])
    rows = fetched(urls.read_text().split(), folder, timeout_s=5, threads=6, breaker=0)
    told = [[o.reason, o.detail, o.retryable, o.final_url, (o.data or b"").hex()] for o in rows]
    output.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
