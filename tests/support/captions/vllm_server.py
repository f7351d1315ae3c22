"""A real `vllm serve` of the packaged model on this machine's processor, for slow tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from nucleus_data.engines.find import CAPTIONER

ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
ARGUMENTS = (
    "--dtype=float32",
    "--max-model-len=4096",
    "--max-num-seqs=32",
    "--enforce-eager",
    "--skip-mm-profiling",
    "--enable-prompt-tokens-details",
    "--disable-uvicorn-access-log",
)


class VllmServer:
    """The server, in a process group of its own; `log` is what it printed."""

    def __init__(self, folder, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.log = folder / "vllm.log"
        self.arguments = [*ARGUMENTS, *arguments]
        self.process = None

    def start(self):
        # Not the script `vllm`: it asks for the version of a package that is not called so on CPUs.
        command = [sys.executable, "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(CAPTIONER.nano), "--served-model-name", "nano"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), *self.arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | ENVIRONMENT,
            )

    def wait(self, within_s=480):
        """Until it answers; raises if it ends before."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/models"):
                return self
            time.sleep(0.2)
        raise AssertionError(f"vllm serve: {self.log.read_text()[-3000:]}")

    def kill(self):
        """Ends it and its children at once, as a machine that goes down does."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
