#!/usr/bin/env python3
"""Claims about the FUSE export under real users of files: mkfs, fsck, cp, writers whose server dies.

Short by default; ASHLAR_SOAK=1 does the rounds that a release is to survive."""
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

from daemon import DaemonCase, TIMEOUT

ROUNDS = 200 if os.environ.get("ASHLAR_SOAK") else 3
BLOCK = 65536
LEAKS_ONLY = (0, 3)  # exit statuses of check
READ_ONLY = os.O_RDONLY | os.O_CLOEXEC

# Writes numbered blocks, and says which have been made durable.
WRITER = """
import os, random, sys
fd = os.open(sys.argv[2], os.O_RDWR)
block = 65536
noise = random.Random(int(sys.argv[1]))
number = 0
while True:
    for _ in range(8):
        number += 1
        place = noise.randrange(os.fstat(fd).st_size // block)
        os.pwrite(fd, number.to_bytes(8, "big") * (block // 8), place * block)
        print("wrote", place, number, flush=True)
    os.fsync(fd)
    print("flushed", number, flush=True)
"""


def can_mount() -> bool:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        print(f"NOT TESTED: /dev/fuse cannot be opened here: {error}", file=sys.stderr)
        return False
    return True


def close_dead(descriptor) -> None:
    """Closing a file whose server has gone closes it, and says so."""
    try:
        os.close(descriptor)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise


def need(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    return unittest.skipIf(missing, f"not installed: {missing}")


@unittest.skipUnless(can_mount(), "/dev/fuse cannot be opened here")
class FuseCase(DaemonCase):
    def setUp(self):
        super().setUp()
        self.mountpoint = self.path("disk")
        open(self.mountpoint, "w").close()
        self.addCleanup(self.unmount)

    def unmount(self):
        """Takes away what a killed daemon left."""
        subprocess.run(["fusermount3", "-u", "-z", self.mountpoint], check=False,
                       stderr=subprocess.DEVNULL, timeout=TIMEOUT)

    def stop(self):
        ended = super().stop()
        self.unmount()
        return ended

    def serve(self, image, fmt="qcow2", options=""):
        qmp = self.start(
            "--blockdev", f"driver={fmt},node-name=disk,discard=unmap,file.driver=file,"
            f"file.discard=unmap,file.filename={image}", "--export",
            f"type=fuse,id=file,node-name=disk,writable=on,mountpoint={self.mountpoint}{options}")
        deadline = time.monotonic() + TIMEOUT
        while not qmp("query-block-exports"):  # the monitor is there first
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return qmp

    def run_tool(self, *words, statuses=(0,), timeout=120):
        done = subprocess.run(words, cwd=self.folder, text=True, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertIn(done.returncode, statuses, done.stdout)
        return done.stdout

    def end(self):
        status, errors = self.stop()
        self.assertEqual((status, errors), (0, ""))
        self.assertEqual(os.stat(self.mountpoint).st_size, 0)  # the file below is back


class Tools(FuseCase):
    @need("mkfs.ext4", "fsck.ext4", "qemu-img")
    def test_a_file_system_made_through_the_file_is_in_the_image(self):
        image = self.image("d.qcow2", "64M", "qcow2")
        self.serve(image)
        (self.folder / "tree").mkdir()
        content = random.Random(1).randbytes(3 << 20)
        (self.folder / "tree" / "content").write_bytes(content)
        self.run_tool("mkfs.ext4", "-q", "-F", "-E", "discard", "-d", "tree", self.mountpoint)
        self.run_tool("fsck.ext4", "-f", "-n", self.mountpoint)
        with open(self.mountpoint, "rb") as file:
            seen = file.read()
        self.end()
        self.run_tool("qemu-img", "check", "-q", image)
        self.run_tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, "d.raw")
        self.assertEqual((self.folder / "d.raw").read_bytes(), seen)
        self.run_tool("fsck.ext4", "-f", "-n", "d.raw")
        self.run_tool("debugfs", "-R", "dump /content copy", "d.raw")
        self.assertEqual((self.folder / "copy").read_bytes(), content)

    @need("cp")
    def test_copies_of_the_file_leave_out_its_holes(self):
        image = self.image("d.qcow2", "64M", "qcow2")
        self.serve(image)
        with open(self.mountpoint, "r+b") as file:
            file.seek(20 << 20)
            file.write(b"x" * (1 << 20))
        self.run_tool("cp", "--sparse=auto", self.mountpoint, "copy.raw")
        copied = os.stat(self.path("copy.raw"))
        self.assertEqual(copied.st_size, 64 << 20)
        self.assertLess(copied.st_blocks * 512, 4 << 20)
        self.end()

    # Buffered writers of one file take turns in the kernel, which is slow where the processors are
    # busy: little is written, so that this ends in any case.
    @need("fio", "qemu-img")
    def test_fio_verifies_what_several_jobs_write(self):
        image = self.image("d.qcow2", "64M", "qcow2")
        self.serve(image)
        for engine, direct in (("libaio", 1), ("psync", 0), ("psync", 1)):
            said = self.run_tool(
                "fio", "--name=job", f"--filename={self.mountpoint}", "--allow_file_create=0",
                f"--ioengine={engine}", f"--direct={direct}", "--iodepth=16", "--rw=randrw",
                "--bsrange=4k-64k", "--size=4M", "--numjobs=4", "--offset_increment=16M",
                "--fsync=32", "--verify=crc32c", "--verify_fatal=1", "--group_reporting")
            self.assertIn("err= 0", said)
        self.end()
        self.run_tool("qemu-img", "check", "-q", image)


class Life(FuseCase):
    def test_the_file_follows_the_size_of_the_disk(self):
        qmp = self.serve(self.image("d.raw", "1M"), "raw")
        descriptor = os.open(self.mountpoint, READ_ONLY)
        self.addCleanup(close_dead, descriptor)
        self.assertEqual(os.fstat(descriptor).st_size, 1 << 20)
        self.assertEqual(qmp("block_resize", node_name="disk", size=3 << 20), {})
        deadline = time.monotonic() + TIMEOUT
        while os.fstat(descriptor).st_size != 3 << 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(len(os.pread(descriptor, 4096, (3 << 20) - 100)), 100)
        self.end()

    def test_an_export_can_be_removed_and_added_while_its_file_is_open(self):
        qmp = self.serve(self.image("d.raw", "1M", pattern=5), "raw")
        for _ in range(3):
            descriptor = os.open(self.mountpoint, READ_ONLY)
            self.assertEqual(os.pread(descriptor, 3, 0), b"\5\5\5")
            self.assertEqual(qmp("block-export-del", id="file", mode="hard"), {})
            self.assertEqual(qmp.event("BLOCK_EXPORT_DELETED"), {"id": "file"})
            with self.assertRaises(OSError):
                os.pread(descriptor, 4096, 65536 * 4)
            close_dead(descriptor)
            self.assertEqual(os.stat(self.mountpoint).st_size, 0)
            self.assertEqual(qmp("block-export-add", type="fuse", id="file", node_name="disk",
                                 mountpoint=self.mountpoint), {})
        self.end()

    def test_a_second_export_on_the_same_file_is_refused(self):
        qmp = self.serve(self.image("d.raw", "1M"), "raw")
        self.assertEqual(qmp("block-export-add", type="fuse", id="more", node_name="disk",
                             mountpoint=self.mountpoint),
                         f"There already is a FUSE export on '{self.mountpoint}'")
        self.end()


@need("qemu-img")
class Kill(FuseCase):
    def write_until_the_server_dies(self, seed: int, seconds: float) -> list[str]:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(seed), self.mountpoint],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        said = []
        while not said or not said[-1].startswith("flushed"):
            line = writer.stdout.readline()
            self.assertTrue(line, "the writer does not write")
            said.append(line)
        time.sleep(seconds)
        process, self.process = self.process, None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=TIMEOUT)
        # It fails, and does not hang. Not communicate(): that misses what readline() has read ahead.
        watch = threading.Timer(TIMEOUT, writer.kill)
        watch.start()
        with writer:
            said.append(writer.stdout.read())
        watch.cancel()
        self.assertGreaterEqual(writer.returncode, 0, "the writer hangs")
        return "".join(said).splitlines()

    def check_image(self, image: str, said: list[str]) -> None:
        self.run_tool("qemu-img", "check", "-f", "qcow2", image, statuses=LEAKS_ONLY)
        self.run_tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, "d.raw")
        durable: dict[int, int] = {}
        newest: dict[int, int] = {}
        for line in said:
            words = line.split()
            if words[0] == "wrote":
                newest[int(words[1])] = int(words[2])
            else:
                durable = dict(newest)
        last = max(durable.values())
        with open(self.folder / "d.raw", "rb") as raw:
            for place, number in durable.items():
                raw.seek(place * BLOCK)
                found = int.from_bytes(raw.read(8), "big")
                # A later write may be there too, also one that nobody has heard of.
                self.assertTrue(found == number or found > last,
                                f"block {place}: {found}, not {number}")

    def test_what_was_synced_survives_the_death_of_the_server(self):
        for seed in range(ROUNDS):
            with self.subTest(seed=seed):
                image = self.image(f"d{seed}.qcow2", "16M", "qcow2")
                self.serve(image)
                try:
                    said = self.write_until_the_server_dies(
                        seed, random.Random(seed).random() / 4)
                finally:
                    self.unmount()
                self.check_image(image, said)
                os.unlink(image)


if __name__ == "__main__":
    unittest.main()
