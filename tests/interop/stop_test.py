#!/usr/bin/env python3
"""Claims about commands that are stopped, and about disks that are full: no part of an image is left
to be taken for the whole, and what was there before is whole."""
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from twins import OURS, run

IMG = OURS / "ashlar-img"
MIB = 1 << 20


def limit_files() -> None:
    """As on a full disk: no file can be larger than 4 MiB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * MIB, 4 * MIB))


class Stopped(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ashlar-stop-"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "source").write_bytes(os.urandom(MIB) * 64)

    def start(self, *words: str, **how) -> subprocess.Popen:
        return subprocess.Popen([IMG, *words], cwd=self.folder, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, **how)

    def stop(self, *words: str, target: str, how: int) -> subprocess.Popen:
        """Stops a command as soon as its target is there and has grown."""
        command = self.start(*words)
        deadline = time.monotonic() + 30
        path = self.folder / target
        while command.poll() is None and time.monotonic() < deadline:
            if path.exists() and path.stat().st_blocks > 1024:
                break
            time.sleep(0.001)
        command.send_signal(how)
        command.communicate(timeout=60)
        return command

    def left(self) -> set:
        return {path.name for path in self.folder.iterdir()}

    SLOW = (("create", "-q", "-f", "raw", "-o", "preallocation=full", "new", "4G"),
            ("create", "-q", "-f", "qcow2", "-o", "preallocation=full", "new", "4G"),
            ("convert", "-c", "-O", "qcow2", "source", "new"),
            ("dd", "if=source", "of=new", "bs=64k"))

    def test_by_a_signal_leave_nothing_behind(self):
        for words in self.SLOW:
            for how in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(words=words[0], how=how):
                    command = self.stop(*words, target="new", how=how)
                    if command.returncode == 0:  # it was faster
                        (self.folder / "new").unlink()
                        continue
                    self.assertEqual(command.returncode, 128 + how)
                    self.assertEqual(self.left(), {"source"})

    def test_in_the_middle_of_growing_leave_the_image_as_it_was(self):
        for how in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(how=how):
                self.assertEqual(run(IMG, "create", "-q", "-f", "qcow2", "a", "1G",
                                     folder=self.folder).status, 0)
                self.stop("resize", "--preallocation=full", "a", "5G", target="a", how=how)
                self.assertIn(run(IMG, "check", "a", folder=self.folder).status, (0, 3))
                self.assertEqual(run(IMG, "check", "-r", "all", "a", folder=self.folder).status, 0)

    def test_by_a_full_disk_say_so_and_leave_nothing_behind(self):
        for words in (("convert", "-O", "qcow2", "source", "new"),
                      ("convert", "-O", "raw", "source", "new"), ("dd", "if=source", "of=new"),
                      ("create", "-q", "-f", "raw", "-o", "preallocation=full", "new", "64M"),
                      ("create", "-q", "-f", "qcow2", "-o", "preallocation=full", "new", "64M")):
            with self.subTest(words=words):
                command = self.start(*words, preexec_fn=limit_files)
                _, text = command.communicate(timeout=60)
                self.assertEqual(command.returncode, 1)
                self.assertRegex(text, "(?i)too large|no space left")
                self.assertEqual(self.left(), {"source"})

    def test_by_a_full_disk_leave_an_image_in_order(self):
        self.assertEqual(run(IMG, "create", "-q", "-f", "qcow2", "a", "64M",
                             folder=self.folder).status, 0)
        command = self.start("resize", "--preallocation=full", "a", "128M", preexec_fn=limit_files)
        command.communicate(timeout=60)
        self.assertEqual(command.returncode, 1)
        command = self.start("convert", "-n", "-O", "qcow2", "source", "a", preexec_fn=limit_files)
        command.communicate(timeout=60)
        self.assertEqual(command.returncode, 1)
        self.assertIn(run(IMG, "check", "a", folder=self.folder).status, (0, 3))


if __name__ == "__main__":
    unittest.main()
