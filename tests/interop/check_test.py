#!/usr/bin/env python3
"""Claims about img check beside the peer's: each kind of damage is told in the same words, in the
same order, with the same numbers and the same exit status."""
import shutil
import unittest

from twins import OURS, TwinTest, run

IO = shutil.which("qemu-io")
COPIED = 1 << 63
COMPRESSED = 1 << 62
CLUSTER = 64 << 10


class Fields:
    """Big-endian numbers of an image file."""

    def __init__(self, path):
        self.path = path

    def get(self, offset: int, size: int = 8) -> int:
        with open(self.path, "rb") as stream:
            stream.seek(offset)
            return int.from_bytes(stream.read(size), "big")

    def put(self, offset: int, value: int, size: int = 8) -> None:
        with open(self.path, "r+b") as stream:
            stream.seek(offset)
            stream.write(value.to_bytes(size, "big"))

    def flip(self, offset: int, bits: int) -> None:
        self.put(offset, self.get(offset) ^ bits)

    @property
    def l1(self) -> int:
        return self.get(40)

    @property
    def l2(self) -> int:
        return self.get(self.l1) & 0xfffffffffffe00

    @property
    def refcount_table(self) -> int:
        return self.get(48)

    @property
    def refcounts(self) -> int:
        return self.get(self.refcount_table)

    @property
    def snapshots(self) -> int:
        return self.get(64)


@unittest.skipUnless(IO, "qemu-io is not installed")
class Damage(TwinTest):
    WAYS = (["check"], ["check", "-r", "leaks"], ["check", "-r", "all"])

    def make(self, *commands: str, options: str = "lazy_refcounts=off") -> None:
        self.with_peer("create", "-q", "-f", "qcow2", "-o", options, "a", "1M")
        for folder in (self.ours, self.peer):
            for command in commands or ("write 0 128k", "write -z 256k 64k"):
                self.assertEqual(run(IO, "-c", command, "a", folder=folder).status, 0)

    def compare(self, damage, ways=WAYS) -> None:
        """Checks copies of the damaged image in each way, as a whole and as JSON."""
        for folder in (self.ours, self.peer):
            damage(Fields(folder / "a"))
            (folder / "a").rename(folder / "damaged")
        for way in ways:
            for folder in (self.ours, self.peer):
                shutil.copy(folder / "damaged", folder / "a")
            self.same(*way, "a")
        for folder in (self.ours, self.peer):
            shutil.copy(folder / "damaged", folder / "a")
        ours, peer = self.both("check", "--output=json", "a")
        self.assertEqual(ours.err, peer.err)
        if peer.out:
            self.same_json("check", "--output=json", "a")

    def test_entries_with_reserved_bits(self):
        self.make()
        self.compare(lambda image: (image.flip(image.l1, 1), image.flip(image.l2, 2)))

    def test_l1_entries_between_clusters(self):
        self.make()
        self.compare(lambda image: image.flip(image.l1, 512))

    def test_copied_flags_that_are_wrong(self):
        self.make()
        self.compare(lambda image: (image.flip(image.l1, COPIED), image.flip(image.l2, COPIED)))

    def test_data_and_room_between_clusters(self):
        for zero in (0, 1):
            with self.subTest(zero=zero):
                self.make()
                self.compare(lambda image, zero=zero: image.flip(image.l2, 512 | zero))

    def test_references_past_the_end(self):
        self.make()
        self.compare(lambda image: image.put(image.l2 + 24, COPIED | 0x9000000))

    def test_a_file_that_was_cut_off(self):
        def cut(image):
            with open(image.path, "r+b") as stream:
                stream.truncate(5 * CLUSTER)
        self.make()
        self.compare(cut)

    def test_compressed_clusters_with_the_copied_flag(self):
        self.make("write -c 0 64k")
        self.compare(lambda image: image.flip(image.l2, COPIED))

    def test_refcounts_that_are_too_low_or_too_high(self):
        for count in (0, 2):
            with self.subTest(count=count):
                self.make()
                self.compare(lambda image, count=count: image.put(image.refcounts + 10, count, 2))

    def test_more_references_than_a_refcount_can_say(self):
        self.make(options="refcount_bits=1")
        self.compare(lambda image: image.put(image.l2 + 16, image.get(image.l2)))

    def test_refcount_blocks_with_reserved_bits_or_used_twice(self):
        only_look = (["check"], ["check", "-r", "leaks"])
        self.make()
        self.compare(lambda image: image.flip(image.refcount_table, 1), only_look)
        self.make()
        self.compare(lambda image: image.put(image.refcount_table + 8, image.refcounts), only_look)

    def test_refcount_blocks_between_clusters(self):
        self.make()
        self.compare(lambda image: image.flip(image.refcount_table, 512), (["check"],))

    def test_subclusters_that_contradict_their_cluster(self):
        for offset, bits in ((16 * 8 + 8, 1), (8, 1 << 32)):
            with self.subTest(offset=offset):
                self.make(options="extended_l2=on")
                self.compare(lambda image, at=offset, bits=bits: image.flip(image.l2 + at, bits))

    def test_a_snapshot_table_that_cannot_be_though_there_are_no_snapshots(self):
        self.make()
        self.compare(lambda image: image.put(64, 0x70001))

    def test_zero_flags_in_version_2_are_refused_where_they_matter(self):
        self.make(options="compat=0.10")
        for folder in (self.ours, self.peer):
            image = Fields(folder / "a")
            image.put(image.l2, 1)
        ours, peer = self.both("map", "a")
        self.assertEqual((ours.status, peer.status), (1, 1))

    def test_tables_of_snapshots_are_not_written_as_data(self):
        self.make()
        self.with_peer("snapshot", "-c", "one", "a")
        for folder in (self.ours, self.peer):
            image = Fields(folder / "a")
            image.put(image.l2, image.get(image.snapshots) | COPIED)
        ours_io = self.root / "bin" / "qemu-io"
        ours_io.symlink_to(OURS / "ashlar-io")
        for program, folder in ((ours_io, self.ours), (IO, self.peer)):
            self.assertEqual(run(program, "-c", "write 0 64k", "a", folder=folder).status, 1)

    def test_snapshots_with_impossible_tables(self):
        for offset, size, value in ((0, 8, 0x70008), (8, 4, 0xffffffff), (36, 4, 8),
                                    (36, 4, 2000)):
            with self.subTest(offset=offset, value=value):
                self.make()
                self.with_peer("snapshot", "-c", "one", "a")
                self.compare(lambda image, at=offset, size=size, value=value:
                             image.put(image.snapshots + at, value, size), (["check"],))


if __name__ == "__main__":
    unittest.main()
