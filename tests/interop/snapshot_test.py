#!/usr/bin/env python3
"""Claims about reading internal snapshots beside the peer's tools."""
import shutil
import unittest

from twins import TwinTest, run

IO = shutil.which("qemu-io")
NAMES = ("one", "1", "snapshot.id=1", "snapshot.id=2", "snapshot.name=one",
         "snapshot.id=3,snapshot.name=one")
NOTHING = ("snapshot.id=2,snapshot.name=one", "snapshot.id=9", "nope", "snapshot.id=", "",
           "snapshot.foo=1", "snapshot.name=1,foo=2")


@unittest.skipUnless(IO, "qemu-io is not installed")
class Snapshots(TwinTest):
    """Three snapshots: two are called "one", and one has the ID of another as its name."""

    def setUp(self) -> None:
        super().setUp()
        self.with_peer("create", "-q", "-f", "qcow2", "a", "1M")
        for number, name in enumerate(("one", "1", "one"), start=1):
            self.write(f"write -P {number} 0 {number * 64}k")
            self.with_peer("snapshot", "-c", name, "a")
        self.write("write -P 9 0 1M")

    def write(self, command: str) -> None:
        for folder in (self.ours, self.peer):
            self.assertEqual(run(IO, "-c", command, "a", folder=folder).status, 0)

    def test_are_converted(self):
        for name in NAMES:
            self.assertEqual(self.same("convert", "-l", name, "-O", "raw", "a", "out").status, 0)
            self.assertEqual((self.ours / "out").read_bytes(), (self.peer / "out").read_bytes())

    def test_are_measured(self):
        for name in NAMES:
            for form in ("raw", "qcow2"):
                self.assertEqual(self.same("measure", "-l", name, "-O", form, "a").status, 0)

    def test_that_do_not_exist_are_refused_in_the_peers_words(self):
        self.with_peer("create", "-q", "-f", "raw", "plain", "1M")
        for name in NOTHING:
            self.assertEqual(self.same("convert", "-l", name, "-O", "raw", "a", "out").status, 1)
            self.assertEqual(self.same("measure", "-l", name, "a").status, 1)
        self.assertEqual(self.same("convert", "-l", "x", "plain", "out").status, 1)

    def test_keep_the_size_that_the_disk_had(self):
        self.with_peer("convert", "-l", "2", "-O", "raw", "a", "before")
        self.with_peer("resize", "-q", "--shrink", "a", "64k")
        done = run(self.our_img, "convert", "-l", "2", "-O", "raw", "a", "out", folder=self.ours)
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertEqual((self.ours / "out").read_bytes(), (self.ours / "before").read_bytes())

    def test_cannot_be_written(self):
        options = "driver=qcow2,file.filename=a,snapshot-id=1"
        done = run(self.our_img, "resize", "--image-opts", options, "2M", folder=self.ours)
        self.assertEqual(done.status, 1)
        self.assertIn("can only be read", done.err)


if __name__ == "__main__":
    unittest.main()
