#!/usr/bin/env python3
"""Claims about persistent bitmaps beside the peer's tools: resizing keeps them, convert copies
them."""
import json
import shutil
import unittest

from twins import PEER, TwinTest, run

IO = shutil.which("qemu-io")


@unittest.skipUnless(IO, "qemu-io is not installed")
class Bitmaps(TwinTest):
    """One that tracks writes, one that is frozen with bits in it, one that is empty."""

    def setUp(self) -> None:
        super().setUp()
        self.with_peer("create", "-q", "-f", "qcow2", "a", "1M")
        self.with_peer("bitmap", "--add", "a", "b0")
        self.with_peer("bitmap", "--add", "-g", "4096", "a", "b1")
        self.with_peer("bitmap", "--add", "--disable", "a", "b2")
        for folder in (self.ours, self.peer):
            self.assertEqual(run(IO, "-c", "write 0 64k", "-c", "write 900k 124k", "a",
                                 folder=folder).status, 0)
        self.with_peer("bitmap", "--disable", "a", "b1")

    def compare(self, name: str) -> None:
        """The same bitmaps with the same bits, as the peer reads them: merged into a new one."""
        self.assertEqual(run(PEER, "check", name, folder=self.ours).status, 0)
        ours, peer = (json.loads(run(PEER, "info", "--output=json", name, folder=folder).out)
                      for folder in (self.ours, self.peer))
        self.assertEqual(ours["virtual-size"], peer["virtual-size"])
        self.assertEqual(ours["format-specific"], peer["format-specific"])
        self.assertEqual(self.dirty(self.ours, name), self.dirty(self.peer, name))

    def dirty(self, folder, name: str) -> list:
        maps = []
        for bitmap in ("b0", "b1"):
            nbd = shutil.which("qemu-nbd")
            if nbd is None:
                return []
            socket = folder / "socket"
            self.assertEqual(run(nbd, "--fork", "-r", "-f", "qcow2", "-B", bitmap, "-k",
                                 str(socket), name, folder=folder).status, 0)
            options = (f"driver=nbd,server.type=unix,server.path={socket},"
                       f"x-dirty-bitmap=qemu:dirty-bitmap:{bitmap}")
            found = run(PEER, "map", "--output=json", "--image-opts", options, folder=folder)
            self.assertEqual(found.status, 0, found.err)
            maps.append([(entry["start"], entry["length"], entry["data"])
                         for entry in json.loads(found.out)])
        return maps

    def test_fit_the_disk_after_it_was_resized(self):
        self.with_peer("convert", "--bitmaps", "-O", "qcow2", "a", "original")
        for words in (["2M"], ["100G"], ["--shrink", "960k"], ["--shrink", "500k"],
                      ["--preallocation=metadata", "2M"]):
            with self.subTest(words=words):
                self.in_both(lambda folder: shutil.copy(folder / "original", folder / "a"))
                *options, size = words
                self.assertEqual(self.same("resize", *options, "a", size).status, 0)
                self.compare("a")

    def test_that_nobody_saved_keep_the_disk_from_being_resized(self):
        self.in_both(mark_first_in_use)
        self.assertEqual(self.same("resize", "a", "2M").status, 1)
        self.assertEqual(self.same("resize", "--shrink", "a", "512k").status, 1)

    def test_are_copied_by_convert(self):
        for options in ([], ["-c"], ["-o", "cluster_size=4k"]):
            with self.subTest(options=options):
                self.assertEqual(self.same("convert", "--bitmaps", *options, "-O", "qcow2", "a",
                                           "out").status, 0)
                self.compare("out")

    def test_that_nobody_saved_are_copied_only_when_they_may_be_left_out(self):
        self.in_both(mark_first_in_use)
        words = ("-O", "qcow2", "a", "out")
        self.assertEqual(self.same("convert", "--bitmaps", *words).status, 1)
        self.assertFalse((self.ours / "out").exists())
        self.assertEqual(self.same("convert", "--bitmaps", "--skip-broken-bitmaps", *words).status,
                         0)
        self.same_json("info", "--output=json", "out")

    def test_are_refused_where_they_cannot_be(self):
        for words in (["-O", "raw", "a", "out"], ["-O", "qcow2", "-o", "compat=0.10", "a", "out"],
                      ["-O", "qcow2", "a", "a", "out"], ["-f", "raw", "-O", "qcow2", "a", "out"]):
            self.assertEqual(self.same("convert", "--bitmaps", *words).status, 1)


def mark_first_in_use(folder) -> None:
    with open(folder / "a", "r+b") as stream:
        def number(offset: int, size: int) -> int:
            stream.seek(offset)
            return int.from_bytes(stream.read(size), "big")
        at = number(100, 4)
        while number(at, 4) != 0x23852875:  # the bitmaps extension
            at += 8 + (number(at + 4, 4) + 7) // 8 * 8
        stream.seek(number(at + 24, 8) + 12)
        stream.write((3).to_bytes(4, "big"))


if __name__ == "__main__":
    unittest.main()
