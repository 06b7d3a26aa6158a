"""Runs one command line with our tool and with the peer's, in twin folders, for tests to compare."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path

OURS = Path(os.environ.get("ASHLAR_BIN_DIR", "build/debug/bin")).resolve()
PEER = shutil.which("qemu-img")


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


def run(program: str | Path, *words: str, folder: Path) -> Outcome:
    done = subprocess.run([str(program), *words], cwd=folder, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, LC_ALL="C", TZ="UTC"))
    return Outcome(done.returncode, done.stdout, done.stderr)


@unittest.skipUnless(PEER, "qemu-img is not installed")
class TwinTest(unittest.TestCase):
    """Both tools are called by the name qemu-img, so that what they print can be compared."""

    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ashlar-interop-"))
        self.addCleanup(shutil.rmtree, self.root)
        for name in ("ours", "peer", "bin"):
            (self.root / name).mkdir()
        self.ours, self.peer = self.root / "ours", self.root / "peer"
        self.our_img = self.root / "bin" / "qemu-img"
        self.our_img.symlink_to(OURS / "ashlar-img")

    def with_peer(self, *words: str) -> None:
        """Prepares both folders with the peer's tool."""
        for folder in (self.ours, self.peer):
            done = run(PEER, *words, folder=folder)
            self.assertEqual(done.status, 0, done.err)

    def in_both(self, action) -> None:
        for folder in (self.ours, self.peer):
            action(folder)

    def both(self, *words: str) -> tuple[Outcome, Outcome]:
        return (run(self.our_img, *words, folder=self.ours), run(PEER, *words, folder=self.peer))

    def same(self, *words: str) -> Outcome:
        """The same status and the same text."""
        ours, peer = self.both(*words)
        self.assertEqual(ours, peer)
        return ours

    def same_json(self, *words: str):
        """The same document, but for what depends on the host or on the peer's age."""
        ours, peer = self.both(*words)
        self.assertEqual((ours.status, ours.err), (peer.status, peer.err))
        left, right = (comparable(json.loads(outcome.out)) for outcome in (ours, peer))
        self.assertEqual(left, right)
        return left


IGNORED = {"actual-size", "children", "compressed"}


def comparable(document):
    if isinstance(document, dict):
        return {key: comparable(value) for key, value in document.items() if key not in IGNORED}
    if isinstance(document, list):
        return [comparable(element) for element in document]
    return document
