"""The command `nucleus world`: writes a synthetic world, and serves one over HTTP."""

import threading
from pathlib import Path

import click

from nucleus_data.commands.support import LocalPath, Number, say
from nucleus_data.printed import counted


@click.command()
@click.option(
    "--images", type=click.IntRange(1), default=1000, show_default=True, help="Number of pictures."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed; the same one makes the same pictures.",
)
@click.option(
    "--level",
    type=click.Choice(["core", "full"]),
    default="core",
    show_default=True,
    help="core: one to three plain shapes on a plain or gradient background; full: textures, "
    "clutter, words and styles, too.",
)
@click.option(
    "--faults",
    type=Number(0, 0.9),
    default=0.2,
    show_default=True,
    help="Share of pictures with a planted fault.",
)
@click.option(
    "--form",
    type=click.Choice(["folder", "tars", "urls"]),
    default="folder",
    show_default=True,
    help="Layout: a folder with captions beside the pictures, webdataset tars, or a folder and a "
    "URL list.",
)
@click.option(
    "--workers", type=click.IntRange(1), help="Number of processes [default: one per CPU]."
)
@click.option(
    "--serve",
    is_flag=True,
    help="Afterwards, serve the pictures on localhost until Ctrl-C; ?fault=404 (and others) in a "
    "URL asks for a faulty response.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8000,
    show_default=True,
    help="With --serve: the port.",
)
@click.option(
    "--fault-share",
    type=Number(0, 1),
    default=0.0,
    show_default=True,
    help="With --serve: share of files whose requests fail, each in its own way.",
)
@click.argument("out", type=LocalPath(path_type=Path))
def world(
    out: Path,
    images: int,
    seed: int,
    level: str,
    faults: float,
    form: str,
    workers: int | None,
    serve: bool,
    port: int,
    fault_share: float,
) -> None:
    """Write synthetic pictures with planted faults.

    They are written to OUT. OUT/truth.parquet holds the ground truth: what is in each picture, and
    what is wrong with it; OUT/contact.jpg shows one picture of each kind. The same options give the
    same bytes, whatever the number of workers.
    """
    from nucleus_data.world.plan import WorldPlan, WorldSettings
    from nucleus_data.world.server import WorldServer
    from nucleus_data.world.write import PICTURES, contact_sheet, write_world

    if serve and form == "tars":
        raise click.UsageError("--serve requires --form folder or urls; tars hold no picture files")
    try:
        settings = WorldSettings(images, seed, level, faults)  # type: ignore[arg-type]
        plan = WorldPlan(settings)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    source = write_world(
        out,
        settings,
        form,  # type: ignore[arg-type]
        workers=workers,
        base_url=f"http://127.0.0.1:{port}",
        progress=True,
    )
    contact_sheet(plan).save(out / "contact.jpg", quality=85)
    say(f"{counted(images, 'picture')}; truth: {out / 'truth.parquet'}; see {out / 'contact.jpg'}")
    say(f"ingest.source={source}")
    if not serve:
        return
    with WorldServer(out / PICTURES, port=port, fault_share=fault_share, seed=seed) as server:
        say(f"{server.url} (Ctrl-C stops it; ingest with ingest.allow_hosts=['127.0.0.1'])")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say("stopped")
