"""The bench's server: pictures of two sizes under any host name, each with a robots.txt."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

SMALL, LARGE = 3_000, 300_000
SLOW_HOST, DELAY_S, SLOW_S = "h0.example0.com", 0.05, 2.0
ROBOTS = "User-agent: *\n" + "".join(f"Disallow: /closed/{n}/\n" for n in range(50))


def jpeg(size: int) -> bytes:
    """A JPEG of about so many bytes: a picture, and a comment that fills it up."""
    from PIL import Image

    sink = io.BytesIO()
    Image.new("RGB", (32, 32), (90, 120, 60)).save(sink, "JPEG")
    return sink.getvalue() + bytes(max(0, size - sink.tell()))


def _serve(port: Any, stopped: Any) -> None:
    """The server's process."""
    from aiohttp import web

    bodies = {size: jpeg(size) for size in (SMALL, LARGE)}

    async def picture(request: web.Request) -> web.Response:
        if wait := int(request.match_info["wait"]):
            slow = request.host.startswith(SLOW_HOST)
            await asyncio.sleep(SLOW_S if slow and wait == 2 else DELAY_S)
        return web.Response(body=bodies[int(request.match_info["size"])], content_type="image/jpeg")

    async def robots(_: web.Request) -> web.Response:
        return web.Response(text=ROBOTS)

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/robots.txt", robots)
        app.router.add_get("/{size}/{wait}/{number}.jpg", picture)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.put(runner.addresses[0][1])
        while not stopped.is_set():
            await asyncio.sleep(0.1)
        await runner.cleanup()

    asyncio.run(run())


@contextmanager
def server() -> Iterator[int]:
    """A server, by its port."""
    context = get_context("spawn")
    port, stopped = context.Queue(), context.Event()
    process = context.Process(target=_serve, args=(port, stopped), daemon=True)
    process.start()
    try:
        yield port.get(timeout=60)
    finally:
        stopped.set()
        process.join(10)


def urls_of(port: int, count: int, size: int, hosts: int, wait: int = 0) -> list[str]:
    """URLs, one host after the other; `wait`: 0 none, 1 all a little, 2 the first host long."""
    names = (f"h{n % hosts}.example{n % hosts}.com" for n in range(count))
    return [f"http://{name}:{port}/{size}/{wait}/{n}.jpg" for n, name in enumerate(names)]


async def here(host: str) -> list[str]:
    """A name server for which all hosts are this machine."""
    return ["127.0.0.1"]
