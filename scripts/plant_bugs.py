"""Plants bugs, one after another, and says which test catches each: a measure of the tests.

    python scripts/plant_bugs.py .                         # all of them, some seconds each
    python scripts/plant_bugs.py . --only runner-order store-race --json bugs.json
    python scripts/plant_bugs.py . --check                 # only: is every snippet there, once?

A bug is a snippet of the source and what takes its place: what a refactoring might do by mistake.
A snippet is found by its text, in whatever file it lies, and must be there exactly once, so the
list outlives files that move. If it does not, the snippet was reworded: write it anew here.

The file is changed where it is, in the working tree, and restored after each bug (also on Ctrl-C;
after a `kill -9`, `git checkout` does it). Of the fast tests (`not slow`), those that the bug names
run first, up to the first that fails; if none fails, all of them run. Who wants to be sure that a
failure is the bug's says `--sound`: the named tests must pass on the tree as it is.

Exit code: 0 if every bug is caught that is not known to slip through, 1 if not, 2 for a
snippet that is not there once, or tests that cannot run.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

PACKAGES = ("nucleus_data", "nucleus_model")
PYTEST = ("-m", "pytest", "-x", "-q", "-rfE", "-m", "not slow", "-p", "no:cacheprovider")
NO_TESTS = 5  # pytest's exit code
SHOWN = 90


@dataclass(frozen=True)
class Bug:
    """One planted bug.

    Attributes:
        id: Its name.
        room: The part of the code that it is in.
        snippet: Source text, a part of a line or some lines, which is there exactly once.
        replacement: What takes its place.
        note: What goes wrong.
        caught_by: Names of the test functions that catch it; the files that define them run first.
            Empty for a bug that no fast test is known to catch.
    """

    id: str
    room: str
    snippet: str
    replacement: str
    note: str
    caught_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a bug.

    Attributes:
        id: The bug's.
        room: The bug's.
        file: Where the snippet was, below the root.
        caught_by: The test that failed; None if none did.
        reason: The beginning of what it said.
        ran: `named`, if the named tests caught it; else `all`.
        seconds: How long it took.
    """

    id: str
    room: str
    file: str
    caught_by: str | None
    reason: str
    ran: str
    seconds: float


BUGS: tuple[Bug, ...] = (
    # hashing, layers
    Bug(
        "hash-key-order",
        "base",
        'json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)',
        'json.dumps(content, separators=(",", ":"), ensure_ascii=True)',
        "A config hash follows the order of keys, so equal settings measure all again.",
        ("test_a_config_hash_knows_no_order_of_keys",),
    ),
    Bug(
        "layers-swapped",
        "base",
        "_laid_over(read_layers(found, (*above, path)), content)",
        "_laid_over(content, read_layers(found, (*above, path)))",
        "A configuration's base wins over the file that is based on it.",
        ("test_a_file_says_only_what_differs_from_its_base",),
    ),
    # store, tables, records, images, corpus
    Bug(
        "store-race",
        "store",
        "return self.read(name) == data",
        "return True",
        "Who loses the race for an object believes that it was written: rows are lost.",
        ("test_create_is_whole_and_once",),
    ),
    Bug(
        "images-digest",
        "store",
        "if hashlib.sha256(image).hexdigest() != digests[i]:",
        "if len(image) != sizes[i]:",
        "A changed picture in a tar is measured as the one that was ingested.",
        ("test_an_image_with_another_byte_is_an_error_that_names_it",),
    ),
    # training_set: buckets, plan, write
    Bug(
        "crop-as-size",
        "training_set",
        "np.stack([left, top, left + box_width, top + box_height], axis=1)",
        "np.stack([left, top, box_width, box_height], axis=1)",
        "A crop says width and height where right and bottom are read.",
        ("test_a_crop_is_the_largest_centred_box_of_its_ratio",),
    ),
    Bug(
        "tar-one-more",
        "training_set",
        "return max(1, min(settings.samples_per_tar, int(",
        "return max(1, min(settings.samples_per_tar + 1, int(",
        "Training shards hold one sample more than is allowed.",
        ("test_the_manifest_says_what_is_there",),
    ),
    # pixels
    Bug(
        "icc-never-fits",
        "pixels",
        "if profile.profile.xcolor_space.strip() != _PROFILE_SPACES[mode]:",
        "if profile.profile.xcolor_space != _PROFILE_SPACES[mode]:",
        "Embedded colour profiles of RGB pictures are ignored ('RGB ' has a space).",
        ("test_colour_profile_is_applied",),
    ),
    # signals
    Bug(
        "laplacian-count",
        "signals",
        "n = (height - 2) * (width - 2)",
        "n = height * width",
        "The sharpness of small pictures is too low: the border is counted, not summed.",
        ("test_laplacian_against_a_plain_loop",),
    ),
    # captioning, embedding, models
    Bug(
        "heads-of-another-model",
        "engines",
        "if self.revision != model.revision:",
        "if self.model != model.name:",
        "Heads score the embeddings of a later version of their model.",
        ("test_heads_of_another_model_are_refused",),
    ),
    # runner
    Bug(
        "runner-order",
        "runner",
        "outcomes = [self.outcomes[row] for row in sorted(self.outcomes)]",
        "outcomes = list(self.outcomes.values())",
        "Rows are committed in the order in which they end: parts are not sorted.",
        ("test_every_row_once_in_order",),
    ),
    Bug(
        "runner-failed-again",
        "runner",
        "np.setdiff1d(due, np.union1d(target.covered(shard), failed))",
        "np.setdiff1d(due, target.covered(shard))",
        "A row that killed its worker is tried in every run, and not only by a retry.",
        ("test_rows_that_failed_for_now_are_retried_and_no_others",),
    ),
    # ingest: plan, claims, build, retry
    Bug(
        "finished-built-again",
        "ingest_plan",
        "for number in claim_numbers(corpus.store) if number not in done]",
        "for number in claim_numbers(corpus.store)]",
        "Every ingest builds all shards of its source again, finished ones too.",
        ("test_ingesting_again_adds_only_what_is_new",),
    ),
    Bug(
        "build-own-tar",
        "ingest_plan",
        "if not first:\n        tar.unlink()",
        "del first",
        "Who loses the race for a tar writes the records of its own one, which is not kept.",
        ("test_the_records_are_of_the_tar_that_is_there_even_if_its_writer_died",),
    ),
    # ingest: folder, tars, img2dataset, url lists
    Bug(
        "tar-key-last-dot",
        "ingest_listing",
        'return folder + slash + base.split(".", 1)[0]',
        'return folder + slash + base.rsplit(".", 1)[0]',
        "A webdataset member's key goes up to its last dot: its sidecars are another's.",
        ("test_webdataset_samples",),
    ),
    Bug(
        "link-to-a-neighbour",
        "ingest_listing",
        'if not target.startswith(top.rstrip(b"/") + b"/"):',
        "if not target.startswith(top):",
        "Links out of `pictures/` into `pictures-private/` are followed.",
        ("test_links_that_lead_out_are_not_followed",),
    ),
    # ingest: addresses, fetch, download
    Bug(
        "first-address-only",
        "ingest_http",
        "refused(host, sorted({str(entry[4][0]) for entry in found}))",
        "refused(host, [str(found[0][4][0])])",
        "A host with a public and a private address may be asked.",
        ("test_urls_are_checked",),
    ),
    Bug(
        "wrong-tar-read",
        "ingest_http",
        'if opened is None or opened[0] != row["path"]:',
        "if opened is None:",
        "All rows of a claim are read from its first tar.",
        ("test_img2dataset_output",),
    ),
    # stages/inspect, dedup
    Bug(
        "unwanted-groups",
        "inspect",
        "if table not in row.wanted:\n                continue\n            self.doing(table)",
        "self.doing(table)",
        "A group that is added later costs the measuring of all others again.",
        ("test_only_wanted_groups_are_measured",),
    ),
    Bug(
        "walk-in-any-order",
        "dedup",
        "for place in visited[np.argsort(rank[visited])]:",
        "for place in visited:",
        "The survivor of a cluster is the first one, not the best one.",
        ("test_the_walk_equals_the_naive_one_over_all_pairs",),
    ),
    # select
    Bug(
        "tier-above-its-bound",
        "select",
        "WHEN {score} >= {bound!r} THEN",
        "WHEN {score} > {bound!r} THEN",
        "A record exactly at a tier's bound falls into the tier below.",
        ("test_a_tier_begins_at_its_bound",),
    ),
    Bug(
        "nan-rejects",
        "select",
        "asked |= {name: without_nan(given.column(name)) for name in used}",
        "asked |= {name: given.column(name) for name in used}",
        "What is not a number counts as larger than any, and rejects.",
        ("test_what_is_not_a_number_is_null",),
    ),
    # stages/score
    Bug(
        "scored-before-it-is-embedded",
        "stages",
        "TableSpec(MATCH, self._match_schema(), 1, settings, both, both)",
        "TableSpec(MATCH, self._match_schema(), 1, settings, both)",
        "A record whose vector is not there yet has no similarity, for good.",
        ("test_a_record_waits_for_its_vectors_and_a_broken_picture_says_why",),
    ),
    # train_step, train_mirror
    Bug(
        "mirror-killed-push",
        "quick_train",
        'self.store.remove(f"{self.folder}/{name}")  # of a killed push',
        "pass",
        "What a killed push left half done counts as the next checkpoint's.",
        ("test_a_push_that_was_killed_counts_for_nothing",),
    ),
    Bug(
        "mirror-removes-first",
        "quick_train",
        'self.store.put(f"{self.folder}/{LATEST}", json.dumps(latest, indent=2).encode())\n'
        "        for name in self._there.difference(names):\n"
        '            self.store.remove(f"{self.folder}/{name}")\n',
        "for name in self._there.difference(names):\n"
        '            self.store.remove(f"{self.folder}/{name}")\n'
        '        self.store.put(f"{self.folder}/{LATEST}", '
        "json.dumps(latest, indent=2).encode())\n",
        "A mirror that is killed between two files names some that are gone.",
        ("test_what_is_gone_here_stays_there_until_the_newer_is_whole",),
    ),
    # report
    Bug(
        "report-not-escaped",
        "report",
        "autoescape=True,",
        "autoescape=False,",
        "Captions and names from outside are interpreted by the browser.",
        ("test_the_page_shows_who_leaves_and_enters_and_interprets_nothing",),
    ),
    Bug(
        "chart-hair",
        "report",
        "widths = [max(HAIR, s.value / total * BAR_WIDTH) for s in shown]",
        "widths = [s.value / total * BAR_WIDTH for s in shown]",
        "A state of a few records among millions cannot be seen.",
        ("test_a_stacked_bar_is_filled_and_shows_every_part",),
    ),
    # recipe, steps, checking
    Bug(
        "credentials-kept",
        "steps",
        'content["ingest"]["storage_options"] = sorted(',
        'content["ingest"]["storage_options"] = dict(',
        "The credentials of a source are written into the corpus with each run.",
        ("test_what_is_stored_with_a_run_has_no_credentials",),
    ),
    Bug(
        "multiple-upside-down",
        "steps",
        "if shard.multiple % size.pixels_a_token:",
        "if size.pixels_a_token % shard.multiple:",
        "A training set whose sides fit no token passes the check.",
        ("test_what_is_wrong_is_said_before_anything_runs",),
    ),
    # inspect_corpus, compare_steps, export, cli
    Bug(
        "ambiguous-beginning",
        "commands",
        "if len(found) == 1:\n        return found[0]\n    if not found:",
        "if found:\n        return found[0]\n    if not found:",
        "`explain` tells the story of some record whose id begins so.",
        ("test_a_story_is_found_by_the_beginning_of_its_id",),
    ),
    # world
    Bug(
        "mistake-that-is-none",
        "world",
        "left = [value for value in values if value != but]",
        "left = list(values)",
        "A caption that should tell one thing wrong may tell the truth.",
        ("test_every_kind_of_alt_text_is_what_it_says",),
    ),
    # nucleus_model: settings, phases, schedule, choice
    Bug(
        "caption-name-order",
        "settings",
        "for name in (source, variant, origin):",
        "for name in (source, origin, variant):",
        "A caption's weight is that of its origin, though its variant has one.",
        ("test_the_closest_name_of_a_caption_s_source_has_its_weight",),
    ),
    # nucleus_model: transformer, moe, attention, rope, flow
    Bug(
        "rope-not-centred",
        "transformer",
        "torch.arange(width, device=device) - (width - width // 2)",
        "torch.arange(width, device=device) - width // 2",
        "Columns of odd grids stand one place off the published ones.",
        ("test_output_and_every_gradient",),
    ),
    Bug(
        "route-scale",
        "transformer",
        "taken / (sums_BS.gather(1, chosen) + TINY) * self.route_scale",
        "taken / (sums_BS.gather(1, chosen) + TINY)",
        "What experts say counts less than in the published model.",
        ("test_output_and_every_gradient",),
    ),
    # nucleus_model: codec, vae, text, cache
    Bug(
        "padding-where-it-fits",
        "codec",
        "missing = -text_BLD.shape[1] % PAD_MULTIPLE",
        "missing = PAD_MULTIPLE - text_BLD.shape[1] % PAD_MULTIPLE",
        "A batch of texts that fits gets 8 more tokens of padding.",
        ("test_padding_is_not_added_where_it_fits",),
    ),
    # nucleus_model: loader, feed, latents, sources
    Bug(
        "path-out-of-the-set",
        "training_set",
        'if path.is_absolute() or ".." in path.parts:',
        "if path.is_absolute():",
        "A manifest can have files outside the training set read.",
        ("test_a_path_that_leads_out_of_the_set_is_refused",),
    ),
    Bug(
        "epoch-from-its-start",
        "loader",
        "for number in range(cursor.batch, len(epoch)):",
        "for number in range(len(epoch)):",
        "A training that goes on begins its epoch anew, and repeats some batches.",
        ("test_from_any_batch_it_goes_on_as_it_would_have",),
    ),
    # nucleus_model: checkpoint, resume, merge, exchange
    Bug(
        "merge-not-normed",
        "checkpoint",
        "shares = [weight / sum(weights) for weight in weights]",
        "shares = list(weights)",
        "A merge with weights of another sum than 1 scales the model.",
        ("test_every_tensor_is_the_weighted_mean",),
    ),
    Bug(
        "newest-state-removed",
        "checkpoint",
        "for path in found[-self.keep : -1]:",
        "for path in found[-self.keep :]:",
        "No checkpoint has the optimizer's state: a killed training cannot go on.",
        ("test_the_newest_are_kept_and_the_state_in_the_newest_alone",),
    ),
    # nucleus_model: sample, solver
    Bug(
        "guidance-from-the-text",
        "sample",
        "combined_BSP = empty_BSP + scale * (text_BSP - empty_BSP)",
        "combined_BSP = text_BSP + scale * (text_BSP - empty_BSP)",
        "Guidance is one stronger than asked for.",
        ("test_guidance_keeps_each_tokens_length",),
    ),
    # nucleus_model: train, step, guards, optimizer, holdout
    Bug(
        "momentum-swapped",
        "train",
        'momentum.lerp_(gradient, 1 - group["momentum"])',
        'momentum.lerp_(gradient, group["momentum"])',
        "Muon keeps a twentieth of its momentum where it should keep nearly all.",
        ("test_an_update_of_a_matrix_is_that_of_torch",),
    ),
)


class PlantError(Exception):
    """A bug cannot be planted, or the tests cannot be run."""


def sources(root: Path) -> dict[Path, str]:
    """Every source file of the packages, with its text."""
    files = [file for package in PACKAGES for file in sorted((root / package).rglob("*.py"))]
    if not files:
        raise PlantError(f"{root} has no {' or '.join(PACKAGES)}; name the root of the repository")
    return {file: file.read_bytes().decode() for file in files}


def place_of(bug: Bug, texts: dict[Path, str]) -> Path:
    """The file that holds a bug's snippet.

    Raises:
        PlantError: It is not there exactly once, or what would be written is no Python.
    """
    counts = {file: text.count(bug.snippet) for file, text in texts.items() if bug.snippet in text}
    if sum(counts.values()) != 1:
        where = ", ".join(f"{file} ({count} times)" for file, count in counts.items())
        raise PlantError(f"{bug.id}: its snippet must be there exactly once; found: {where or 0}")
    (file,) = counts
    if bug.snippet == bug.replacement:
        raise PlantError(f"{bug.id}: the replacement is the snippet")
    try:
        compile(texts[file].replace(bug.snippet, bug.replacement), str(file), "exec")
    except SyntaxError as error:
        raise PlantError(f"{bug.id}: with it {file} is no Python: {error}") from error
    return file


@contextmanager
def planted(bug: Bug, file: Path) -> Iterator[None]:
    """Has a bug in a file, which is afterwards as it was, to its time of change.

    (That time decides whether compiled files beside it are good. Those of the bug are not: they
    carry its later time.)
    """
    before, times = file.read_bytes(), file.stat()
    changed = before.replace(bug.snippet.encode(), bug.replacement.encode())
    try:
        file.write_bytes(changed)
        yield
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def files_of(root: Path, names: Sequence[str]) -> list[str]:
    """The files below tests/ that define these test functions."""
    wanted = [f"def {name}(" for name in names]
    return [
        file.relative_to(root).as_posix()
        for file in sorted((root / "tests").rglob("test_*.py"))
        if any(definition in file.read_text() for definition in wanted)
    ]


class Suite:
    """Runs tests of a working tree.

    Args:
        root: Of the repository.
        python: The interpreter that has what the tests need.
        limit_s: A run that takes longer is ended, and counts as a failure.
    """

    def __init__(self, root: Path, python: str, limit_s: float) -> None:
        self.root, self.python, self.limit_s = root, python, limit_s
        paths = [str(root), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            "OMP_NUM_THREADS": "1",
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def check(self) -> None:
        """PlantError, if the tests would see another tree's packages."""
        code = f"import {', '.join(PACKAGES)}\nfor m in ({', '.join(PACKAGES)}): print(m.__file__)"
        for line in self._run(["-c", code]).stdout.splitlines():
            if not Path(line).resolve().is_relative_to(self.root):
                raise PlantError(f"{self.python} imports {line}, which is not below {self.root}")

    def failure(self, arguments: Sequence[str]) -> tuple[str, str] | None:
        """The first test that fails, and what it says; None if all pass (or there is none)."""
        try:
            done = self._run([*PYTEST, *arguments])
        except subprocess.TimeoutExpired:
            return "(no test ended)", f"more than {self.limit_s:.0f} s"
        if done.returncode in (0, NO_TESTS):
            return None
        found = re.search(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
        if found:
            said = re.search(r"^E +(.*)", done.stdout, re.MULTILINE)
            return found[1], said[1] if said else ""
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        return f"(pytest ended with {done.returncode})", "".join(last)

    def _run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=self.limit_s,
            check=False,
        )


def try_bug(
    bug: Bug, file: Path, suite: Suite, workers: int, *, named_only: bool = False
) -> Outcome:
    """Plants a bug, and runs the tests."""
    start, ran = time.perf_counter(), "named"
    named = files_of(suite.root, bug.caught_by)
    with planted(bug, file):
        failed = suite.failure(named) if named else None
        if failed is None and not named_only:
            ran, failed = "all", suite.failure(["-n", str(workers)])
    test, reason = failed or (None, "")
    return Outcome(
        bug.id,
        bug.room,
        file.relative_to(suite.root).as_posix(),
        test,
        reason,
        ran,
        round(time.perf_counter() - start, 1),
    )


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The outcomes as lines of text."""
    heads = ("bug", "room", "caught by", "seconds")
    rows = [(o.id, o.room, o.caught_by or "NOT CAUGHT", f"{o.seconds:.1f}") for o in outcomes]
    rows = [(one, room, test[:SHOWN], seconds) for one, room, test, seconds in [heads, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for *texts, seconds in rows:
        yield "  ".join(
            [*(text.ljust(width) for text, width in zip(texts, widths, strict=True)), seconds]
        )


def chosen(names: Sequence[str] | None) -> list[Bug]:
    """The bugs of these names; all if none is named.

    Raises:
        PlantError: There is no such bug.
    """
    known = {bug.id: bug for bug in BUGS}
    if len(known) < len(BUGS):
        raise PlantError("two bugs have one id")
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise PlantError(f"there is no bug {', '.join(unknown)}; there are: {', '.join(known)}")
    return [known[name] for name in names or known]


def plant(options: argparse.Namespace) -> int:
    """What the command does, from its arguments; returns the exit code."""
    root = options.root.resolve()
    texts, bugs = sources(root), chosen(options.only)
    places: dict[str, Path] = {}
    problems = []
    for bug in bugs:
        try:
            places[bug.id] = place_of(bug, texts)
        except PlantError as error:
            problems.append(str(error))
        if bug.caught_by and not files_of(root, bug.caught_by):
            lost = f"{bug.id}: no file of tests/ has {' or '.join(bug.caught_by)}; all tests run"
            print(lost, file=sys.stderr)
    if problems:
        raise PlantError("\n".join(problems))
    if options.check:
        print(f"{len(bugs)} snippets are there, each once")
        return 0
    suite = Suite(root, options.python, options.limit)
    suite.check()
    if options.sound:
        names = {name for bug in bugs for name in bug.caught_by}
        if failed := suite.failure([*files_of(root, sorted(names)), "-n", str(options.workers)]):
            raise PlantError(f"without any bug {failed[0]} fails: {failed[1]}")
    outcomes = []
    for number, bug in enumerate(bugs, 1):
        found = try_bug(bug, places[bug.id], suite, options.workers, named_only=options.named_only)
        outcomes.append(found)
        said = found.caught_by or "NOT CAUGHT"
        print(f"[{number}/{len(bugs)}] {bug.id}: {said} ({found.seconds} s)", file=sys.stderr)
        if options.json is not None:
            options.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    print("\n".join(table(outcomes)))
    missed = [bug.id for bug, o in zip(bugs, outcomes, strict=True) if o.caught_by is None]
    print(f"{len(bugs) - len(missed)} of {len(bugs)} caught")
    known = {bug.id for bug in bugs if not bug.caught_by}
    return int(not known.issuperset(missed))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="of the repository's working tree")
    parser.add_argument("--only", nargs="+", metavar="ID", help="these bugs alone")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the outcomes, as they come")
    parser.add_argument("--check", action="store_true", help="run no test: are the snippets there?")
    parser.add_argument("--named-only", action="store_true", help="do not go on with all tests")
    parser.add_argument("--sound", action="store_true", help="run the named tests without a bug")
    parser.add_argument("--python", default=sys.executable, help="the interpreter; this one")
    parser.add_argument("--workers", type=int, default=2, help="processes of a whole run; 2")
    parser.add_argument("--limit", type=float, default=1200, help="seconds of a run; 1200")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # the file is restored on the way
    try:
        return plant(parser.parse_args(arguments))
    except PlantError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the file is as it was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
