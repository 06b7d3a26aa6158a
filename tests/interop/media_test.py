#!/usr/bin/env python3
"""Claims about clients that write and verify while the medium under them is changed, again and again.

Short by default; ASHLAR_SOAK=1 does the rounds that a release is to survive."""
import json
import os
import shutil
import subprocess
import time
import unittest
from typing import NamedTuple

from daemon import DaemonCase, IMG, Qmp, TIMEOUT
from nbd_client import interpreter

CHANGES = 1000
CHANGES_UNDER_FIO = 10_000 if os.environ.get("ASHLAR_SOAK") else 1000
BLOCK = 4096
PLACES = 1 << 15
LIMIT = 120

# Writes every block once, with its number in all words, until it is told to end. Says of each when
# it was sent and when it was answered, or that it failed.
WRITER = """
import nbd, select, sys, time
h = nbd.NBD()
h.connect_uri(sys.argv[1])
block, places, depth = (int(word) for word in sys.argv[2:])
sent, done = {}, []
def finish(cookie):
    number, start, buffer = sent.pop(cookie)
    try:
        ended = h.aio_command_completed(cookie)
        done.append((number, start, time.monotonic() if ended else None))
    except nbd.Error:
        done.append((number, start, None))
print("ready", flush=True)
for number in range(1, places):
    if select.select([sys.stdin], [], [], 0)[0]: break
    while len(sent) >= depth:
        h.poll(1000)
        cookie = h.aio_peek_command_completed()
        while cookie > 0:
            finish(cookie)
            cookie = h.aio_peek_command_completed()
    buffer = nbd.Buffer.from_bytearray(bytearray(number.to_bytes(8, "big") * (block // 8)))
    start = time.monotonic()
    sent[h.aio_pwrite(buffer, number * block)] = (number, start, buffer)
while sent:
    h.poll(1000)
    cookie = h.aio_peek_command_completed()
    if cookie > 0: finish(cookie)
h.flush()
h.shutdown()
for number, start, end in done: print(number, start, end)
"""


class Write(NamedTuple):
    number: int
    sent: float
    answered: float


class Change(NamedTuple):
    medium: int  # what is there from now on
    begun: float
    done: float


class MediaCase(DaemonCase):
    def serve(self, *options: str) -> Qmp:
        return self.start("--nbd-server", f"addr.type=unix,addr.path={self.path('nbd')}", *options,
                          "--export", "type=nbd,id=export,backend=drive,name=drive,writable=on")

    @property
    def uri(self) -> str:
        return f"nbd+unix:///drive?socket={self.path('nbd')}"

    def change(self, qmp: Qmp, filename: str, fmt: str = "raw") -> None:
        self.assertEqual(qmp("blockdev-change-medium", id="drive", format=fmt, filename=filename),
                         {})

    def end(self) -> None:
        self.assertEqual(self.stop(), (0, ""))

    def content_of(self, image: str, fmt: str) -> memoryview:
        if fmt == "qcow2":
            subprocess.run([IMG, "check", "-q", "-f", fmt, image], check=True, timeout=LIMIT)
        subprocess.run([IMG, "convert", "-f", fmt, "-O", "raw", image, image + ".out"], check=True,
                       timeout=LIMIT)
        with open(image + ".out", "rb") as file:
            return memoryview(file.read())


@unittest.skipUnless(interpreter(), "libnbd's Python module is not installed")
class TwoMedia(MediaCase):
    """Two images take turns. Every write is in one of them, whole, and in the right one."""

    def writer(self) -> subprocess.Popen:
        process = subprocess.Popen(
            [interpreter(), "-c", WRITER, self.uri, str(BLOCK), str(PLACES), "16"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def finish(self, process: subprocess.Popen) -> list[Write]:
        said, _ = process.communicate("end\n", timeout=LIMIT)
        self.assertEqual(process.returncode, 0)
        writes = []
        for line in said.splitlines():
            number, sent, answered = line.split()
            self.assertNotEqual(answered, "None", f"write {number} failed")
            writes.append(Write(int(number), float(sent), float(answered)))
        return writes

    def check(self, writes: list[Write], changes: list[Change], contents: list[memoryview]) -> int:
        """The number of writes that fell into a change, and could go to either medium."""
        empty = bytes(BLOCK)
        between = 0
        at = 0  # the last change that was done before the write was sent
        for write in sorted(writes, key=lambda each: each.sent):
            while at + 1 < len(changes) and changes[at + 1].done <= write.sent:
                at += 1
            whole = write.number.to_bytes(8, "big") * (BLOCK // 8)
            found = [content[write.number * BLOCK:][:BLOCK] for content in contents]
            where = [number for number, block in enumerate(found) if block == whole]
            self.assertEqual(len(where), 1, f"{write} is in {where}")
            self.assertEqual(found[1 - where[0]], empty, f"{write} is also in the other medium")
            if at + 1 == len(changes) or write.answered < changes[at + 1].begun:
                self.assertEqual(where[0], changes[at].medium, f"{write} after {changes[at]}")
            else:
                between += 1
        return between

    def take_turns(self, fmt: str) -> None:
        size = PLACES * BLOCK
        images = [self.image(f"{name}.{fmt}", str(size), fmt) for name in "ab"]
        qmp = self.serve("--blockdev", f"driver={fmt},node-name=first,file.driver=file,"
                         f"file.filename={images[0]}", "--backend", "id=drive,node-name=first")
        self.assertEqual(qmp("blockdev-change-medium", id="drive", format=fmt,
                             filename=images[1]), {})
        self.assertEqual(qmp("blockdev-del", node_name="first"), {})  # the user's own reference
        changes = [Change(1, 0.0, 0.0)]
        writer = self.writer()
        for number in range(CHANGES):
            begun = time.monotonic()
            self.change(qmp, images[number % 2], fmt)
            changes.append(Change(number % 2, begun, time.monotonic()))
        writes = self.finish(writer)
        self.end()
        between = self.check(writes, changes, [self.content_of(each, fmt) for each in images])
        self.assertGreater(len(writes), CHANGES / 10)
        self.assertGreater(between, 0)

    def test_every_write_is_in_one_of_two_raw_images(self):
        self.take_turns("raw")

    def test_every_write_is_in_one_of_two_qcow2_images(self):
        self.take_turns("qcow2")


@unittest.skipUnless(shutil.which("fio"), "fio is not installed")
class SameContent(MediaCase):
    """The medium is replaced by another view of the same image, while fio verifies what it wrote."""

    def fio(self, seed: int) -> subprocess.Popen:
        process = subprocess.Popen(
            ["fio", "--name=job", "--ioengine=nbd", f"--uri={self.uri}", "--rw=randrw",
             "--bsrange=4k-128k", "--size=32M", "--iodepth=16", "--verify=crc32c",
             "--verify_fatal=1", "--verify_backlog=64", "--fsync=64", f"--randseed={seed}"],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def change_under_fio(self, fmt: str) -> None:
        image = self.image(f"d.{fmt}", "32M", fmt)
        qmp = self.serve("--blockdev", f"driver={fmt},node-name=disk,file.driver=file,"
                         f"file.filename={image}", "--backend", "id=drive,node-name=disk")
        view = "json:" + json.dumps({"driver": "raw", "file": "disk"})
        changes = runs = 0
        while changes < CHANGES_UNDER_FIO:
            runs += 1
            running = self.fio(runs)
            while running.poll() is None:
                self.change(qmp, view)
                changes += 1
            said, _ = running.communicate(timeout=LIMIT)
            self.assertEqual(running.returncode, 0, f"run {runs}: {said}")
            self.assertIn("err= 0", said)
        self.end()
        if fmt == "qcow2":
            subprocess.run([IMG, "check", "-q", image], check=True, timeout=LIMIT)

    def test_fio_verifies_a_raw_image_whose_view_changes(self):
        self.change_under_fio("raw")

    def test_fio_verifies_a_qcow2_image_whose_view_changes(self):
        self.change_under_fio("qcow2")


if __name__ == "__main__":
    unittest.main()
