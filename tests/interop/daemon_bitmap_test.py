#!/usr/bin/env python3
"""Dirty bitmaps, snapshots and transactions of the storage daemon beside the peer's: the same
commands get the same answers, and each reads what the other has saved."""
import json
import subprocess
import sys
import unittest
from pathlib import Path

from daemon import DAEMON, IO, TIMEOUT
from daemon_twins import PEER_IMG, PEER_IO, TwinCase, run

BITMAP = "block-dirty-bitmap-"


class BitmapTest(TwinCase):
    def test_errors_have_the_peers_words(self):
        self.make("a")
        self.make("b", "2M")
        self.open("a", "a")
        self.open("b", "b")
        add = BITMAP + "add"
        self.assertEqual(self.both(add, node="a", name="b0"), {})
        self.both(add, node="b", name="big", granularity=131072)
        for arguments in ({"node": "a", "name": "b0"}, {"node": "none", "name": "b0"},
                          {"node": "a", "name": ""}, {"node": "a", "name": "g", "granularity": 0},
                          {"node": "a", "name": "g", "granularity": 1000},
                          {"node": "a", "name": "g", "granularity": 1 << 32},
                          {"node": "a", "name": "x" * 1024},
                          {"node": "a-file", "name": "p", "persistent": True}):
            self.assertIsInstance(self.both(add, **arguments), str)
        for verb in ("remove", "clear", "enable", "disable"):
            self.assertIn("not found", self.both(BITMAP + verb, node="a", name="none"))
        for source in ("none", {"node": "b", "name": "big"}):
            self.assertIsInstance(self.both(BITMAP + "merge", node="a", target="b0",
                                            bitmaps=[source]), str)
        self.assertIn("not found", self.both(BITMAP + "merge", node="a", target="none",
                                             bitmaps=["b0"]))

    def test_writes_are_noted_as_the_peer_does(self):
        self.make("a", "1000k", "-o", "cluster_size=4k")
        self.open("a", "a", discard="unmap")
        self.both(BITMAP + "add", node="a", name="default")
        self.both(BITMAP + "add", node="a", name="fine", granularity=512)
        self.both(BITMAP + "add", node="a", name="off", disabled=True)
        self.both(BITMAP + "add", node="a-file", name="below")
        self.serve("a")
        self.write("a", "write 100k 64k", "write -z 300k 10k", "discard 512k 64k", "write 999k 1k")
        counts = self.same_bitmaps("a")
        self.assertEqual(counts["off"], 0)
        self.assertEqual(counts["fine"], (64 + 10 + 64 + 1) << 10)
        self.assertGreater(self.ours.bitmaps("a-file")[0]["count"], 0)
        self.both(BITMAP + "merge", node="a", target="off", bitmaps=["fine", "default"])
        self.both(BITMAP + "clear", node="a", name="default")
        self.both(BITMAP + "disable", node="a", name="fine")
        self.both(BITMAP + "enable", node="a", name="off")
        self.write("a", "write 0 512")
        self.same_bitmaps("a")
        self.both(BITMAP + "remove", node="a", name="fine")
        self.same_bitmaps("a")

    def test_a_transaction_is_done_whole_or_not_at_all(self):
        self.make("a")
        self.open("a", "a")
        self.both(BITMAP + "add", node="a", name="b0")
        self.both(BITMAP + "add", node="a", name="gone")
        self.serve("a")
        self.write("a", "write 0 100k")

        def actions(*rows):
            return [{"type": kind, "data": data} for kind, data in rows]

        good = [(BITMAP + "add", {"node": "a", "name": "b1"}),
                (BITMAP + "merge", {"node": "a", "target": "b1", "bitmaps": ["b0"]}),
                (BITMAP + "clear", {"node": "a", "name": "b0"}),
                (BITMAP + "disable", {"node": "a", "name": "b1"}),
                (BITMAP + "remove", {"node": "a", "name": "gone"})]
        for bad in ((BITMAP + "clear", {"node": "a", "name": "none"}), ("abort", {})):
            self.assertIsInstance(self.both("transaction", actions=actions(*good, bad)), str)
            self.assertEqual(self.same_bitmaps("a"), {"b0": 128 << 10, "gone": 128 << 10})
        self.assertEqual(self.both("transaction", actions=actions(*good)), {})
        self.assertEqual(self.same_bitmaps("a"), {"b0": 0, "b1": 128 << 10})
        self.assertEqual(self.both("transaction", actions=[]), {})


class PersistentTest(TwinCase):
    def flags_of(self, image):
        info = json.loads(run(PEER_IMG, "info", "-U", "--output=json", str(image)).stdout)
        bitmaps = info["format-specific"]["data"].get("bitmaps", [])
        return {bitmap["name"]: sorted(bitmap["flags"]) for bitmap in bitmaps}

    def dirty_bytes(self, image, bitmap):
        """As the peer reads it, of an image that nobody has open."""
        socket = str(self.folder / "look")
        server = subprocess.Popen(["qemu-nbd", "-r", "-f", "qcow2", "-B", bitmap, "-k", socket,
                                   str(image)])
        try:
            uri = f"nbd+unix:///?socket={socket}"
            while not Path(socket).exists() and server.poll() is None:
                pass
            found = run("nbdinfo", "--json", f"--map=qemu:dirty-bitmap:{bitmap}", uri).stdout
            return sum(entry["length"] for entry in json.loads(found) if entry["type"] & 1)
        finally:
            server.wait(TIMEOUT)

    def test_one_made_after_a_resize_is_saved(self):
        self.make("a")
        self.open("a", "a")
        self.assertEqual(self.both("block_resize", **{"node-name": "a", "size": 64 << 20}), {})
        self.assertEqual(self.both(BITMAP + "add", node="a", name="on", persistent=True), {})
        self.assertEqual(self.both("blockdev-del", **{"node-name": "a"}), {})
        for side in self.sides:
            self.assertEqual(self.flags_of(side.folder / "a"), {"on": ["auto"]})

    def test_what_was_noted_is_saved_for_the_peer(self):
        self.make("a")
        self.open("a", "a")
        self.both(BITMAP + "add", node="a", name="on", persistent=True, granularity=4096)
        self.both(BITMAP + "add", node="a", name="off", persistent=True, disabled=True)
        self.both(BITMAP + "add", node="a", name="transient")
        self.serve("a")
        self.write("a", "write 8k 4k", "write 500k 1k")
        self.both(BITMAP + "merge", node="a", target="off", bitmaps=["on"])
        self.same_bitmaps("a")
        for side in self.sides:
            side.qmp("quit")
            side.process.wait(TIMEOUT)
            image = side.folder / "a"
            self.assertEqual(self.flags_of(image), {"on": ["auto"], "off": []})
            self.assertEqual(run(PEER_IMG, "check", str(image)).returncode, 0)
            self.assertEqual(self.dirty_bytes(image, "on"), 8192)
            self.assertEqual(self.dirty_bytes(image, "off"), 128 << 10)

    def test_the_peers_bitmaps_are_kept_up_to_date(self):
        self.make("a")
        for side in self.sides:
            image = str(side.folder / "a")
            for options in (["b0"], ["-g", "4096", "--disable", "b1"], ["old"]):
                run(PEER_IMG, "bitmap", "--add", *options[:-1], image, options[-1])
            run(PEER_IO, "-f", "qcow2", "-c", "write 0 64k", image)
        self.open("a", "a")
        self.serve("a")
        self.same_bitmaps("a")
        self.write("a", "write 512k 4k")
        self.both(BITMAP + "remove", node="a", name="old")
        self.assertEqual(self.same_bitmaps("a"), {"b0": 128 << 10, "b1": 0})
        self.both("block-export-del", id="a")
        self.both("blockdev-reopen", options=[
            {"driver": "qcow2", "node-name": "a", "read-only": True, "file": "a-file"}])
        self.same_bitmaps("a")
        self.assertIsInstance(self.both(BITMAP + "clear", node="a", name="b0"), str)
        self.both("blockdev-reopen", options=[
            {"driver": "qcow2", "node-name": "a", "read-only": False, "file": "a-file"}])
        self.both(BITMAP + "clear", node="a", name="b0")
        self.both("blockdev-del", node_name="a")
        self.both("blockdev-del", node_name="a-file")
        for side in self.sides:
            self.assertEqual(self.flags_of(side.folder / "a"), {"b0": ["auto"], "b1": []})
            self.assertEqual(self.dirty_bytes(side.folder / "a", "b0"), 0)

    def test_all_tools_keep_them_up_to_date(self):
        self.make("a")
        for side, tool in zip(self.sides, (IO, PEER_IO)):
            image = str(side.folder / "a")
            run(PEER_IMG, "bitmap", "--add", "-g", "4096", image, "b0")
            run(tool, "-f", "qcow2", "-c", "write 32k 64k", "-c", "write -z 900k 5k", image)
            self.assertEqual(self.flags_of(image), {"b0": ["auto"]})
            self.assertEqual(self.dirty_bytes(image, "b0"), (64 + 8) << 10)
            run(tool, "-f", "qcow2", "-r", "-c", "read 0 64k", image)
            self.assertEqual(run(PEER_IMG, "check", image).returncode, 0)

    def test_a_crash_leaves_them_inconsistent_and_never_wrong(self):
        self.make("a")
        for side in self.sides:
            run(PEER_IMG, "bitmap", "--add", str(side.folder / "a"), "b0")
            run(PEER_IMG, "bitmap", "--add", "--disable", str(side.folder / "a"), "b1")
        self.open("a", "a")
        self.serve("a")
        self.write("a", "write 0 64k")
        self.both(BITMAP + "enable", node="a", name="b1")
        side = self.ours
        side.process.kill()
        side.process.wait(TIMEOUT)
        image = side.folder / "a"
        self.assertEqual(self.flags_of(image), {"b0": ["auto", "in-use"], "b1": ["in-use"]})
        run(IO, "-f", "qcow2", "-c", "write 64k 64k", str(image))
        self.assertIn("in-use", self.flags_of(image)["b0"])
        qmp = self.start("--blockdev", f"driver=qcow2,node-name=a,file.driver=file,"
                         f"file.filename={image}")
        shown = qmp("query-named-block-nodes")
        states = [each for node in shown for each in node.get("dirty-bitmaps", [])]
        self.assertEqual([each.get("inconsistent") for each in states], [True, True])
        self.assertIn("inconsistent", qmp(BITMAP + "clear", node="a", name="b0"))
        self.assertEqual(qmp(BITMAP + "remove", node="a", name="b0"), {})
        self.stop()
        self.assertEqual(self.flags_of(image), {"b1": ["in-use"]})


class SnapshotTest(TwinCase):
    def test_writes_go_to_the_overlay_from_then_on(self):
        for name in ("base", "one", "two"):
            self.make(name)
        for name in ("base", "one", "two"):
            self.open(name, name)
        self.both("blockdev-add", driver="raw", node_name="r", file="two-file")
        self.both("blockdev-del", node_name="r")
        self.serve("base")
        self.write("base", "write -P 1 0 128k")
        snapshot = "blockdev-snapshot"
        for arguments in ({"node": "none", "overlay": "one"}, {"node": "base", "overlay": "none"},
                          {"node": "base", "overlay": "one-file"}):
            self.assertIsInstance(self.both(snapshot, **arguments), str)
        self.assertEqual(self.both(snapshot, node="base", overlay="one"), {})
        self.write("base", "write -P 2 64k 64k", "read -P 1 0 64k")
        self.assertIn("busy", self.both(snapshot, node="base", overlay="two"))
        both = [{"type": snapshot, "data": {"node": "one", "overlay": "two"}},
                {"type": BITMAP + "add", "data": {"node": "two", "name": "since"}}]
        self.assertIsInstance(self.both("transaction", actions=both + [
            {"type": "abort", "data": {}}]), str)
        self.write("base", "write -P 3 0 4k")
        self.assertEqual(self.both("transaction", actions=both), {})
        self.write("base", "write -P 4 1M 0", "write -P 4 900k 64k", "read -P 3 0 4k",
                   "read -P 2 64k 64k")
        self.assertEqual(self.same_bitmaps("two"), {"since": 128 << 10})
        for side in self.sides:
            side.qmp("quit")
            side.process.wait(TIMEOUT)
            for image, command in (("base", "read -P 1 0 128k"), ("one", "read -P 3 0 4k"),
                                   ("one", "read -P 2 64k 64k"), ("two", "read -P 4 900k 64k")):
                out = run(PEER_IO, "-f", "qcow2", "-c", command, str(side.folder / image)).stdout
                self.assertNotIn("failed", out, f"{side.folder} {image} {command}")

    def test_an_overlay_is_made_for_a_snapshot(self):
        self.make("base")
        self.open("base", "base")
        self.serve("base")
        sync = "blockdev-snapshot-sync"
        for arguments in ({"device": "none"}, {"node_name": "none"},
                          {"node_name": "base", "snapshot_node_name": "base"},
                          {"node_name": "base", "format": "raw"},
                          {"node_name": "base", "mode": "existing"}):
            self.assertIsInstance(self.both(sync, snapshot_file="s1", **arguments), str)
        self.assertEqual(self.both(sync, node_name="base", snapshot_file="s1",
                                   snapshot_node_name="top"), {})
        self.write("base", "write -P 2 0 64k")
        for side in self.sides:
            side.qmp("quit")
            side.process.wait(TIMEOUT)
        ours, peer = (json.loads(run(PEER_IMG, "info", "--output=json",
                                     str(side.folder / "s1")).stdout) for side in self.sides)
        for member in ("backing-filename", "backing-filename-format", "virtual-size"):
            self.assertEqual(ours[member], peer[member])
        out = run(PEER_IO, "-f", "qcow2", "-c", "read -P 2 0 64k", str(self.ours.folder / "s1"))
        self.assertNotIn("failed", out.stdout)


class WatchTest(TwinCase):
    def test_a_write_beyond_the_threshold_is_told_once(self):
        self.make("a")
        self.open("a", "a")
        threshold = "block-set-write-threshold"
        self.assertIsInstance(self.both(threshold, node_name="none", write_threshold=1), str)
        self.both(threshold, node_name="a", write_threshold=500 << 10)
        self.serve("a")
        self.write("a", "write 0 500k")
        for side in self.sides:
            nodes = {n["node-name"]: n for n in side.qmp("query-named-block-nodes")}
            self.assertEqual(nodes["a"]["write_threshold"], 500 << 10)
        self.write("a", "write 512k 64k", "write 700k 64k")
        for side in self.sides:
            self.assertEqual(side.qmp.event("BLOCK_WRITE_THRESHOLD"),
                             {"node-name": "a", "write-threshold": 500 << 10,
                              "amount-exceeded": 76 << 10})
            side.qmp("query-block")
            self.assertNotIn("BLOCK_WRITE_THRESHOLD",
                             [event["event"] for event in side.qmp.events])

    def test_children_cannot_be_changed(self):
        self.make("a")
        self.open("a", "a")
        for arguments in ({"parent": "a"}, {"parent": "a", "child": "file"},
                          {"parent": "a", "node": "a-file"}, {"parent": "a", "node": "none"},
                          {"parent": "none", "node": "a"},
                          {"parent": "a", "node": "a-file", "child": "file"}):
            self.assertIsInstance(self.both("x-blockdev-change", **arguments), str)


if __name__ == "__main__":
    if not Path(DAEMON).exists():
        sys.exit(f"{DAEMON} is missing")
    unittest.main()
