"""A running nbd tool, ours or the peer's, for tests with real clients."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

OURS = Path(os.environ.get("ASHLAR_BIN_DIR", "build/debug/bin")).resolve()
LIMIT = 60


def run(*words: str | Path, folder: Path, limit: float = LIMIT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], cwd=folder, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=limit)


def need(*programs: str):
    missing = [program for program in programs if shutil.which(program) is None]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


class Server:
    """The nbd tool on a unix socket in `folder`. A context: it is ended, and must end well."""

    def __init__(self, folder: Path, *words: str, program: Path = OURS / "ashlar-nbd") -> None:
        self.folder = folder
        self.socket = folder / "nbd.sock"
        self.uri = f"nbd+unix:///?socket={self.socket}"
        self.words = [str(program), "-k", str(self.socket), *words]

    def uri_of(self, export: str) -> str:
        return f"nbd+unix:///{export}?socket={self.socket}"

    def __enter__(self) -> "Server":
        self.log = open(self.folder / "server.log", "wb")
        self.process = subprocess.Popen(self.words, cwd=self.folder, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + LIMIT
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"no server: {self.said()}")
            time.sleep(0.005)
        return self

    def said(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(LIMIT)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        self.log.close()

    def memory_kib(self, what: str = "VmRSS") -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1])
        raise AssertionError(f"no {what}")

    def __exit__(self, kind, *unused) -> None:
        try:
            if kind is None:
                status = self.stop()
                if status != 0:
                    raise AssertionError(f"server ended with {status}: {self.said()}")
        finally:
            self.kill()


class NbdTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ashlar-nbd-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def ok(self, *words: str | Path, limit: float = LIMIT) -> str:
        done = run(*words, folder=self.folder, limit=limit)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout

    def make(self, name: str, size: str, kind: str = "qcow2", *options: str) -> Path:
        self.ok("qemu-img", "create", "-q", "-f", kind, *options, name, size)
        return self.folder / name
