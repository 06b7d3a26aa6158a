#!/usr/bin/env python3
"""Claims about the io tool and img convert beside the peer's: same words, same contents."""
import re
import resource
import shutil
import signal
import struct
import subprocess
import unittest

from twins import OURS, PEER, TwinTest, run

PEER_IO = shutil.which("qemu-io")


def without_rates(text: str) -> str:
    return re.sub(r"(\d+ ops); .*$", r"\1;", text, flags=re.MULTILINE)


@unittest.skipUnless(PEER_IO, "qemu-io is not installed")
class Commands(TwinTest):
    def setUp(self) -> None:
        super().setUp()
        self.our_io = self.root / "bin" / "qemu-io"
        self.our_io.symlink_to(OURS / "ashlar-io")
        self.with_peer("create", "-q", "-f", "qcow2", "a.qcow2", "1M")

    def same_io(self, *words: str) -> int:
        ours = run(self.our_io, *words, folder=self.ours)
        peer = run(PEER_IO, *words, folder=self.peer)
        self.assertEqual((ours.status, without_rates(ours.out), ours.err),
                         (peer.status, without_rates(peer.out), peer.err), words)
        return ours.status

    def commands(self, *lines: str) -> int:
        words = [word for line in lines for word in ("-c", line)]
        return self.same_io("-f", "qcow2", *words, "a.qcow2")

    def test_reads_what_was_written_in_the_same_words(self):
        self.assertEqual(self.commands("write -P 7 1000 3000", "read -P 7 1000 3000",
                                       "read -v 990 32", "readv -P 7 1000 512 512", "map", "length",
                                       "alloc 0 128k", "aio_write -P 9 64k 4k", "aio_flush",
                                       "read -P 9 64k 4k"), 0)

    def test_fails_where_the_peer_fails(self):
        for line in ("read -P 1 0 512", "read 1M 512", "read 0", "read x 1", "read 0 3G", "bogus",
                     "write -u 0 512", "write -z -P 1 0 512", "write -n 0 512", "length now",
                     "sleep x", "truncate x", "read -P 256 0 1", "write -c 1000 512"):
            self.assertEqual(self.commands(line), 1)

    def test_writes_compressed_data_only_where_the_peer_does(self):
        self.commands("write 0 64k", "write -c 64k 64k", "write -z 128k 64k", "write 192k 4k",
                      "write 256k 64k", "discard 256k 64k")
        for offset in range(0, 384, 64):
            self.commands(f"write -c {offset}k 64k")
        self.commands("map", "read -v 0 512", "read -v 64k 512", "read -v 128k 512")

    def test_writes_nothing_where_bitmaps_are_claimed_and_missing(self):
        def claim(folder):
            with open(folder / "a.qcow2", "r+b") as image:
                image.seek(95)  # the lowest byte of the autoclear features
                image.write(b"\1")
        self.commands("write 0 64k")
        self.in_both(claim)
        before = (self.ours / "a.qcow2").read_bytes()
        done = run(self.our_io, "-c", "write 0 64k", "a.qcow2", folder=self.ours)
        self.assertEqual(done.status, 1)
        self.assertIn("autoclear feature bit 0", done.err)
        self.assertEqual(run(self.our_img, "check", "-r", "all", "a.qcow2",
                             folder=self.ours).status, 1)
        self.assertEqual((self.ours / "a.qcow2").read_bytes(), before)
        self.assertEqual(self.same_io("-r", "-c", "read 0 64k", "a.qcow2"), 0)

    def test_fails_when_the_image_cannot_be_closed(self):
        # What is written over lies where no refcount can be: it cannot be freed.
        self.commands("write 0 64k")
        def point_far_away(folder):
            with open(folder / "a.qcow2", "r+b") as image:
                image.seek(4 * 65536)  # the L2 table
                image.write(struct.pack(">Q", 1 << 47))
        self.in_both(point_far_away)
        for tool, folder in ((self.our_io, self.ours), (PEER_IO, self.peer)):
            done = run(tool, "-c", "write 0 64k", "a.qcow2", folder=folder)
            self.assertEqual(done.status, 1, done.err)
            self.assertNotEqual(done.err, "")

    def test_takes_room_for_whole_clusters(self):
        # So that writing into the rest of them later does not find the disk full.
        self.commands("write 0 512", "write 128k 100", "write 256k 64k", "flush")
        ours, peer = ((folder / "a.qcow2").stat() for folder in (self.ours, self.peer))
        self.assertEqual(ours.st_size, peer.st_size)
        self.assertEqual(ours.st_blocks, peer.st_blocks)

    def test_keeps_states_of_machines_beside_the_disk(self):
        self.commands("write -P 9 0 1M", "info", "read -b -P 0 0 64k", "write -b -P 5 0 100k",
                      "write -b -P 6 512 1k", "write -b -P 7 1G 64k", "read -b -P 5 0 512",
                      "read -b -P 6 512 1k", "read -b -P 5 2k 98k", "read -b -P 7 1G 64k",
                      "read -P 9 0 1M", "write -b 5 512", "read -b 0 5")
        for tool in (self.our_img, PEER):
            checked = run(tool, "check", "a.qcow2", folder=self.ours)
            self.assertEqual(checked.status, 0, checked.out)
        self.commands("read -b -P 7 1G 64k", "read -b -P 6 512 1k", "read -P 9 0 1M", "map")
        # Each reads what the other has written.
        for tool, image in ((self.our_io, self.peer), (PEER_IO, self.ours)):
            done = run(tool, "-r", "-c", "read -b -P 7 1G 64k", "-c", "read -b -P 6 512 1k",
                       "a.qcow2", folder=image)
            self.assertEqual(done.status, 0, done.out + done.err)

    def test_tells_of_a_folder_in_the_peers_words(self):
        self.in_both(lambda folder: (folder / "sub").mkdir())
        for words in ([], ["-r"], ["-f", "raw"]):
            self.assertEqual(self.same_io(*words, "-c", "length", "sub"), 1)

    def test_prompts_for_every_line_also_on_a_pipe(self):
        texts = []
        for program, folder in ((self.our_io, self.ours), (PEER_IO, self.peer)):
            done = subprocess.run([program, "a.qcow2"], cwd=folder, input="length\n\nquit\nlength\n",
                                  capture_output=True, text=True, timeout=60)
            texts.append(done.stdout)
        self.assertEqual(texts[0], texts[1])


class Convert(TwinTest):
    def setUp(self) -> None:
        super().setUp()
        data = bytearray(3 << 20)
        for place in range(0, len(data), 200_000):
            data[place:place + 70_000] = bytes((place + at) % 251 for at in range(70_000))
        self.in_both(lambda folder: (folder / "a.raw").write_bytes(data))
        self.data = bytes(data)

    def convert(self, *words: str) -> None:
        done = run(self.our_img, "convert", *words, folder=self.ours)
        self.assertEqual(done.status, 0, done.err)

    def test_makes_images_that_the_peer_finds_equal_and_in_order(self):
        for options in (["-O", "qcow2"], ["-O", "qcow2", "-c"], ["-O", "qcow2", "-W", "-m", "16"],
                        ["-O", "qcow2", "-o", "cluster_size=512"],
                        ["-O", "qcow2", "-c", "-o", "compression_type=zstd,cluster_size=2M"],
                        ["-O", "qcow2", "-S", "0"], ["-O", "raw", "-C"], ["-O", "raw", "-S", "64k"]):
            self.convert("-f", "raw", *options, "a.raw", "b")
            self.assertEqual(run(PEER, "compare", "-f", "raw", "-F", options[1], "a.raw", "b",
                                 folder=self.ours).status, 0, options)
            if options[1] == "qcow2":
                self.assertEqual(run(PEER, "check", "-q", "b", folder=self.ours).status, 0, options)
            (self.ours / "b").unlink()

    def test_makes_the_same_bytes_every_time(self):
        for name in ("b", "c"):
            self.convert("-f", "raw", "-O", "qcow2", "a.raw", name)
        self.assertEqual((self.ours / "b").read_bytes(), (self.ours / "c").read_bytes())

    def test_leaves_no_part_of_a_copy_when_there_is_no_room(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        for options in (["-O", "qcow2"], ["-O", "qcow2", "-c"]):
            (self.ours / "r.raw").write_bytes(subprocess.run(
                ["head", "-c", "3M", "/dev/urandom"], capture_output=True, check=True).stdout)
            done = subprocess.run([self.our_img, "convert", "-f", "raw", *options, "r.raw", "b"],
                                  cwd=self.ours, preexec_fn=limit, capture_output=True, text=True,
                                  timeout=60)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("File too large", done.stderr)
            self.assertFalse((self.ours / "b").exists())

    def test_copies_the_layers_above_the_targets_backing_image(self):
        self.with_peer("convert", "-f", "raw", "-O", "qcow2", "a.raw", "base")
        self.with_peer("create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "mid")
        self.with_peer("bench", "-q", "-w", "-c", "3", "--pattern", "7", "-f", "qcow2", "mid")
        self.with_peer("create", "-q", "-f", "qcow2", "-b", "mid", "-F", "qcow2", "top")
        self.convert("-O", "qcow2", "-B", "base", "-F", "qcow2", "top", "new")
        self.assertEqual(run(PEER, "compare", "top", "new", folder=self.ours).status, 0)


if __name__ == "__main__":
    unittest.main()
