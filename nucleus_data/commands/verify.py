"""`nucleus verify`: checks that a training set or an export is intact."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from nucleus_data.commands.support import (
    CONFIG_HELP,
    EXIT_FAILED,
    LocalPath,
    complain,
    opened,
    say,
    say_json,
)


@click.command()
@click.option("--quick", is_flag=True, help="Compare checksums only; do not decode pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.argument("arguments", nargs=-1, metavar="[SET] [KEY.SUB=VALUE]...")
@click.option("--config", type=LocalPath(path_type=Path), help=CONFIG_HELP)
def verify(arguments: tuple[str, ...], quick: bool, as_json: bool, config: Path | None) -> None:
    """Verify that a training set or an export is intact.

    SET is NAME or NAME/HASH, or the folder of an export or of a set outside of any corpus; by
    default, the only set of the corpus. Checks every byte of the tars, sample by sample, indexes,
    captions, columns, counts, and stored latents and text states; also that no id occurs twice, and
    that nothing is from an evaluation set (dedup.against), blocked or taken down. If stopped, the
    same command continues. Exits with 1 if something is wrong.
    """
    from nucleus_data.corpus.store import Store
    from nucleus_data.errors import RequestError
    from nucleus_data.stages.upkeep import verify as upkeep
    from nucleus_data.stages.upkeep.export_check import is_export, verify_export

    names = [argument for argument in arguments if "=" not in argument]
    if len(names) > 1:
        raise click.UsageError(f"only one set can be verified at a time, got {', '.join(names)}")
    overrides = [argument for argument in arguments if "=" in argument]
    tell = complain if as_json else say
    with opened("verify", config, overrides, tell=tell) as found:
        run, dedup = found.run, found.stages["dedup"]
        out = Store(names[0], run.corpus.store.storage_options) if names else None
        if out is not None and is_export(out):
            _say(run, out.url(""), verify_export(run, upkeep.UPKEEP, out), as_json=as_json)
            return
        folder = upkeep.find_set(run, names[0] if names else None)
        against, pairs = dedup.settings.against, None
        if against:
            try:
                pairs = dedup.found(run, "verify")["dedup"]
            except RequestError as error:
                tell(f"verify: near copies of evaluation sets are not searched for: {error}")
        faults = upkeep.verify(run, folder, against, pairs, decode=not quick)
        _say(run, folder.url(), faults, as_json=as_json)


def _say(run: Any, url: str, faults: list[Any], *, as_json: bool) -> None:
    """Prints what is wrong and stores it in the run; exits with 1 if anything is."""
    from nucleus_data.stages.upkeep.faults import table

    kinds = Counter(fault.kind for fault in faults)
    content = {"set": url, "whole": not faults, "kinds": dict(sorted(kinds.items()))}
    content["faults"] = [fault.content() for fault in faults]
    run.corpus.store.put(run.path("verify.json"), json.dumps(content, indent=1).encode())
    if as_json:
        say_json(content)
    else:
        for line in table(faults):
            say(line)
        what = "has blocked samples" if set(kinds) == {"export_blocked"} else "is damaged"
        say(f"verify: {url} {what if faults else 'is intact'}")
    if faults:
        sys.exit(EXIT_FAILED)
