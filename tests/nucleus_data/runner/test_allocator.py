import subprocess
import sys

import pytest

from nucleus_data.runner.allocator import limit_arenas, release_unused

# Threads that hold something at the same time, each in a heap of its own if there is one.
HEAPS = """
import ctypes, sys, tempfile, threading
from nucleus_data.runner.allocator import limit_arenas

if sys.argv[1] == "limited":
    limit_arenas()
ready = threading.Barrier(8)
def hold():
    held = [bytes(1000) for _ in range(1000)]
    ready.wait()
threads = [threading.Thread(target=hold) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count(b"<heap nr="))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_threads_share_two_heaps():
    def heaps(how: str) -> int:
        command = [sys.executable, "-c", HEAPS, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert heaps("as it is") > 2
    assert heaps("limited") <= 2


def test_arrow_gives_back_what_it_has_freed():
    import pyarrow as pa

    before = pa.total_allocated_bytes()
    held = pa.allocate_buffer(64 << 20)
    held = None  # noqa: F841
    release_unused()
    assert pa.total_allocated_bytes() == before
    assert limit_arenas() in (True, False)
