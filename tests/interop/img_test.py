#!/usr/bin/env python3
"""Claims about the img tool beside the peer's: same words, same numbers, readable images."""
import json
import os
import random
import subprocess
import unittest

from twins import PEER, TwinTest, run

NO_CHECKS = 63  # the exit status of check for formats that have none


def fill(path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def allocated(image) -> list:
    """What an image has of its own, as the peer sees it: guest ranges, joined."""
    found = run(PEER, "map", "--output=json", image.name, folder=image.parent)
    ranges = []
    for extent in json.loads(found.out):
        start, end = extent["start"], extent["start"] + extent["length"]
        if not extent["present"] or extent["depth"] != 0:
            continue
        if ranges and ranges[-1][1] == start:
            start = ranges.pop()[0]
        ranges.append((start, end))
    return ranges


class Create(TwinTest):
    def test_announces_a_raw_image_and_makes_it_as_long_as_asked(self):
        for size in ("0", "1000", "64k", "1.5M", "0x1000", "1T"):
            self.same("create", "-f", "raw", "new.raw", size)
            self.assertEqual((self.ours / "new.raw").stat().st_size,
                             (self.peer / "new.raw").stat().st_size)

    def test_announces_the_options_of_a_qcow2_image_in_the_peers_order(self):
        for options in ("cluster_size=4k", "compat=0.10", "refcount_bits=1", "lazy_refcounts=on",
                        "extended_l2=on", "compression_type=zstd", "cluster_size=2M,compat=1.1"):
            self.same("create", "-f", "qcow2", "-o", options, "new.qcow2", "1G")

    def test_makes_qcow2_images_that_the_peer_finds_in_order(self):
        for options in ("cluster_size=512", "compat=0.10", "extended_l2=on",
                        "preallocation=metadata"):
            self.assertEqual(run(self.our_img, "create", "-q", "-f", "qcow2", "-o", options, "new",
                                 "10M", folder=self.ours).status, 0)
            checked = run(PEER, "check", "new", folder=self.ours)
            self.assertEqual((checked.status, checked.err), (0, ""), checked.out)

    def test_takes_the_size_from_the_backing_image(self):
        self.with_peer("create", "-q", "-f", "raw", "base.raw", "3M")
        self.same("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2")
        self.same_json("info", "--output=json", "top.qcow2")

    def test_refuses_what_the_peer_refuses_in_its_words(self):
        for words in (["new"], ["-f", "bogus", "new", "1M"],
                      ["-f", "qcow2", "-o", "bogus=1", "new", "1M"],
                      ["-f", "qcow2", "-o", "cluster_size=511", "new", "1M"],
                      ["-f", "qcow2", "-o", "size=1M", "new", "1M"],
                      ["-f", "qcow2", "-b", "gone", "-F", "raw", "new"],
                      ["-f", "raw", "none/new", "1M"]):
            self.assertEqual(self.same("create", *words).status, 1)

    def test_makes_a_plain_file_where_the_format_is_a_protocol(self):
        self.same("create", "-f", "file", "new", "1M")
        self.assertEqual((self.ours / "new").stat().st_size, 1 << 20)

    def test_leaves_the_name_taken_after_a_preallocation_that_files_do_not_have(self):
        self.same("create", "-f", "raw", "-o", "preallocation=metadata", "new", "1M")
        self.assertEqual((self.ours / "new").stat().st_size, (self.peer / "new").stat().st_size)

    def test_lists_the_options_of_raw_images(self):
        self.same("create", "-f", "raw", "-o", "help")
        self.same("create", "-f", "raw", "-o", "help", "new.raw")


class Info(TwinTest):
    def test_describes_raw_and_qcow2_images_alike(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        self.with_peer("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "a.qcow2", "1M")
        for name in ("a.raw", "a.qcow2"):
            self.same_json("info", "--output=json", name)

    def test_walks_a_backing_chain(self):
        self.in_both(lambda folder: (folder / "sub").mkdir())
        self.with_peer("create", "-q", "-f", "qcow2", "sub/base", "1M")
        self.with_peer("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "sub/top")
        chain = self.same_json("info", "--backing-chain", "--output=json", "sub/top")
        self.assertEqual([image["filename"] for image in chain], ["sub/top", "sub/base"])

    def test_says_what_is_wrong_in_the_peers_words(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        for words in (["none"], ["-f", "qcow2", "a.raw"], ["-f", "bogus", "a.raw"], ["bogus:x"],
                      ["json:{}"]):
            self.assertEqual(self.same("info", *words).status, 1)

    def test_opens_no_backing_file_when_told_not_to_trust(self):
        self.with_peer("create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw",
                       "top", "1M")
        words = ("map", "--untrusted", "top")
        refused = run(self.our_img, *words, folder=self.ours)
        self.assertEqual((refused.status, refused.out), (1, ""))
        self.assertEqual(run(self.our_img, "info", "--untrusted", "top", folder=self.ours).status, 0)


class Map(TwinTest):
    def test_agrees_on_raw_images_with_holes(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        self.in_both(lambda folder: fill(folder / "a.raw", 512 << 10, b"x" * 4096))
        self.same("map", "a.raw")
        self.same_json("map", "--output=json", "a.raw")
        self.same_json("map", "--output=json", "-s", "100k", "-l", "500k", "a.raw")
        self.same_json("map", "--output=json", "-s", "1G", "a.raw")

    def test_agrees_on_overlays(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        self.in_both(lambda folder: fill(folder / "a.raw", 0, b"x" * 65536))
        self.with_peer("create", "-q", "-f", "qcow2", "-b", "a.raw", "-F", "raw", "top", "2M")
        self.same("map", "top")
        self.same_json("map", "--output=json", "top")


class Resize(TwinTest):
    def test_grows_and_shrinks_both_formats(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        self.with_peer("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
        for name, form in (("a.raw", "raw"), ("a.qcow2", "qcow2")):
            for words in (["2M"], ["+512k"], ["--shrink", "-512k"], ["--shrink", "512k"], ["100k"]):
                *options, size = words
                self.same("resize", "-f", form, *options, name, size)
                self.same_json("info", "--output=json", "-f", form, name)

    def test_hides_longer_backing_files_where_that_costs_no_room(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "4M")
        self.in_both(lambda folder: fill(folder / "a.raw", 0, b"x" * (3 << 20)))
        for compat in ("0.10", "1.1"):
            for mode in ("off", "metadata", "falloc"):
                self.with_peer("create", "-q", "-f", "qcow2", "-o", "compat=" + compat,
                               "-b", "a.raw", "-F", "raw", "top", "1000k")
                same = self.same("resize", "--preallocation=" + mode, "top", "2M")
                self.assertEqual(same.status, int(compat == "0.10" and mode != "falloc"))
                if same.status == 0:  # the peer has begun before it refuses
                    self.assertEqual(allocated(self.ours / "top"), allocated(self.peer / "top"))
                self.with_peer("convert", "-O", "raw", "top", "top.raw")
                self.assertEqual((self.ours / "top.raw").read_bytes(),
                                 (self.peer / "top.raw").read_bytes())

    def test_warns_of_a_guessed_raw_image(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        self.assertIn("WARNING", self.same("resize", "a.raw", "2M").err)


class Check(TwinTest):
    def test_finds_and_repairs_a_leak(self):
        self.with_peer("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
        # The last refcount of the first block: a cluster that nothing uses.
        self.in_both(lambda folder: fill(folder / "a.qcow2", 0x20000 + 2 * 9, b"\0\1"))
        self.in_both(lambda folder: os.truncate(folder / "a.qcow2", 10 << 16))
        if run(self.our_img, "check", "a.qcow2", folder=self.ours).status == NO_CHECKS:
            self.skipTest("this build does not check qcow2 images")
        self.assertEqual(self.same("check", "a.qcow2").status, 3)
        self.assertEqual(self.same("check", "-r", "leaks", "a.qcow2").status, 0)
        self.assertEqual(self.same("check", "a.qcow2").status, 0)

    def test_knows_which_formats_have_no_check(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        self.assertEqual(self.same("check", "-f", "raw", "a.raw").status, NO_CHECKS)


class Measure(TwinTest):
    def test_agrees_with_the_peer(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        self.in_both(lambda folder: fill(folder / "a.raw", 0, b"x" * 65536))
        for words in (["--size", "1G"], ["--size", "1G", "-o", "cluster_size=4k"], ["a.raw"]):
            for form in ("raw", "qcow2"):
                if form == "raw" and "-o" in words:
                    continue
                self.same("measure", "-O", form, *words)
                self.same("measure", "--output=json", "-O", form, *words)


class Convert(TwinTest):
    def test_gives_the_same_file_each_time(self):
        chance = random.Random(1)
        clusters = [b"\0" * 65536, chance.randbytes(65536), b"ashlar, " * 8192,
                    chance.randbytes(4096) * 16]
        with open(self.ours / "a.raw", "wb") as image:
            for _ in range(320):
                image.write(chance.choice(clusters))
        for options in ((), ("-c",), ("-c", "-o", "compression_type=zstd")):
            with self.subTest(options=options):
                files = set()
                for _ in range(4):
                    done = run(self.our_img, "convert", *options, "-f", "raw", "-O", "qcow2",
                               "a.raw", "a.qcow2", folder=self.ours)
                    self.assertEqual(done.status, 0, done.err)
                    files.add((self.ours / "a.qcow2").read_bytes())
                self.assertEqual(len(files), 1)
                compared = run(PEER, "compare", "-f", "qcow2", "-F", "raw", "a.qcow2", "a.raw",
                               folder=self.ours)
                self.assertEqual(compared.status, 0, compared.out)


    def test_lays_sparse_data_out_as_the_peer_does(self):
        def make(folder):
            with open(folder / "a.raw", "wb") as image:
                image.truncate(8 << 20)
                for offset, length in ((530432, 100), (1 << 20, 4096), ((2 << 20) + 20480, 4096),
                                       ((2 << 20) + 28672, 4096), ((4 << 20) + 12288, 70000)):
                    image.seek(offset)
                    image.write(b"x" * length)
            # The same without holes.
            (folder / "b.raw").write_bytes((folder / "a.raw").read_bytes())
        self.in_both(make)
        for name in ("a.raw", "b.raw"):
            for sparse in ("4k", "64k", "1M"):
                for layout in (["-o", "cluster_size=64k"], ["-o", "cluster_size=512"],
                               ["-o", "cluster_size=256k,extended_l2=on"],
                               ["-c", "-o", "cluster_size=512"], ["-c"]):
                    with self.subTest(name=name, sparse=sparse, layout=layout):
                        self.both("convert", "-f", "raw", "-O", "qcow2", "-S", sparse, *layout,
                                  name, "a.qcow2")
                        self.assertEqual(allocated(self.ours / "a.qcow2"),
                                         allocated(self.peer / "a.qcow2"))


class Trace(TwinTest):
    def test_is_accepted_before_the_command(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        for words in (["-T", "foo"], ["--trace", "enable=foo"], ["--trace=foo"], ["-Tfoo*"],
                      ["-T", "file=trace"], ["-T", "events=none"], ["-T", "bogus=1"]):
            self.same(*words, "check", "-f", "raw", "a.raw")


class Output(TwinTest):
    def test_fails_when_it_cannot_be_written(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([self.our_img, "info", "a.raw"], cwd=self.ours, stdout=full,
                                  stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("No space left on device", done.stderr)

    def test_fails_when_nobody_reads_it(self):
        self.with_peer("create", "-q", "-f", "raw", "a.raw", "1M")
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([self.our_img, "info", "a.raw"], cwd=self.ours, stdout=writing,
                              stderr=subprocess.PIPE, text=True, check=False)
        os.close(writing)
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
