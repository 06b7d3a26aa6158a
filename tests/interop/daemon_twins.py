"""A storage daemon of ours beside the peer's, for tests that ask both the same."""
import shutil
import subprocess
import unittest
from pathlib import Path

from daemon import DAEMON, TIMEOUT, DaemonCase, Qmp

PEER = shutil.which("qemu-storage-daemon")
PEER_IMG = shutil.which("qemu-img")
PEER_IO = shutil.which("qemu-io")


def run(*words, check=True):
    return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=check)


class Side:
    """A daemon of ours or the peer's with images of its own."""

    def __init__(self, case, program):
        self.folder = case.folder / Path(program).name
        self.folder.mkdir()
        self.socket = str(self.folder / "nbd")
        self.process = subprocess.Popen(
            [program, "--chardev", "socket,id=m,path=qmp,server=on,wait=off", "--monitor", "m"],
            cwd=self.folder, stderr=subprocess.DEVNULL)
        case.addCleanup(self.end)
        self.qmp = Qmp(str(self.folder / "qmp"))
        case.addCleanup(self.qmp.close)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)

    def write(self, export, *commands):
        words = [word for command in commands for word in ("-c", command)]
        run(PEER_IO, "-f", "raw", *words, f"nbd+unix:///{export}?socket={self.socket}")

    def bitmaps(self, node):
        for info in self.qmp("query-named-block-nodes"):
            if info["node-name"] == node:
                return info.get("dirty-bitmaps", [])
        return None


@unittest.skipUnless(PEER and PEER_IMG and PEER_IO, "the peer's tools are not installed")
class TwinCase(DaemonCase):
    def setUp(self):
        super().setUp()
        self.sides = [Side(self, DAEMON), Side(self, PEER)]
        self.ours = self.sides[0]

    def both(self, command, /, **arguments):
        """Carries a command out on both sides, which must answer the same."""
        ours, peer = (side.qmp(command, **arguments) for side in self.sides)
        self.assertEqual(ours, peer, f"{command} {arguments}")
        return ours

    def make(self, name, size="1M", *options):
        for side in self.sides:
            run(PEER_IMG, "create", "-q", "-f", "qcow2", *options, str(side.folder / name), size)

    def open(self, node, name, **more):
        self.both("blockdev-add", driver="file", filename=name, node_name=node + "-file",
                  **more)
        self.both("blockdev-add", driver="qcow2", node_name=node, file=node + "-file", **more)

    def serve(self, node):
        for side in self.sides:
            if not Path(side.socket).exists():
                address = {"type": "unix", "data": {"path": side.socket}}
                self.assertEqual(side.qmp("nbd-server-start", addr=address), {})
        self.both("block-export-add", type="nbd", id=node, node_name=node, writable=True)

    def write(self, node, *commands):
        for side in self.sides:
            side.write(node, *commands)

    def same_bitmaps(self, node):
        ours, peer = (side.bitmaps(node) for side in self.sides)
        self.assertEqual(ours, peer)
        for bitmap in ours:
            self.both("x-debug-block-dirty-bitmap-sha256", node=node, name=bitmap["name"])
        return {bitmap["name"]: bitmap["count"] for bitmap in ours}
