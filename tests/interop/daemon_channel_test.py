#!/usr/bin/env python3
"""Channels that monitors make, names of backing images, and threads of nodes, beside the peer's
storage daemon: the same commands get the same answers."""
import json
import sys
import unittest
from pathlib import Path

from daemon import DAEMON, TIMEOUT
from daemon_twins import PEER_IMG, TwinCase, run


class ChannelTest(TwinCase):
    def add(self, name, kind, **data):
        return self.both("chardev-add", id=name, backend={"type": kind, "data": data})

    def listed(self):
        rows = [sorted((row["label"], row["filename"].split(":")[0], row["frontend-open"])
                       for row in side.qmp("query-chardev")) for side in self.sides]
        self.assertEqual(rows[0], rows[1])
        return rows[0]

    def test_channels_come_and_go(self):
        self.assertEqual(self.add("null", "null"), {})
        self.add("file", "file", out="log")
        self.add("socket", "socket", wait=False,
                 addr={"type": "unix", "data": {"path": "channel"}})
        self.assertIn("already exists", self.add("m", "null"))
        self.assertEqual([row[0] for row in self.listed()], ["file", "m", "null", "socket"])
        for side in self.sides:
            self.assertTrue((side.folder / "log").exists())
            self.assertTrue((side.folder / "channel").is_socket())
            self.assertRegex(side.qmp("chardev-add", id="pty",
                                      backend={"type": "pty", "data": {}})["pty"], "^/dev/pts/")
        self.assertEqual(self.both("chardev-send-break", id="file"), {})
        self.assertEqual(self.both("chardev-change", id="file",
                                   backend={"type": "null", "data": {}}), {})
        self.assertIn(("file", "null", False), self.listed())
        for command in ("chardev-remove", "chardev-send-break"):
            self.assertIn("not found", self.both(command, id="none"))
        self.assertIn("busy", self.both("chardev-remove", id="m"))
        self.assertIn("hotswap", self.both("chardev-change", id="m",
                                           backend={"type": "null", "data": {}}))
        for name in ("null", "file", "socket", "pty"):
            self.assertEqual(self.both("chardev-remove", id=name), {})
        self.assertEqual([row[0] for row in self.listed()], ["m"])

    def test_a_buffer_keeps_what_was_written_last(self):
        self.assertIn("power of two", self.add("odd", "ringbuf", size=63))
        self.assertEqual(self.add("ring", "ringbuf", size=8), {})
        self.both("ringbuf-write", device="ring", data="hello, you")
        self.assertEqual(self.both("ringbuf-read", device="ring", size=5), "llo, ")
        self.both("ringbuf-write", device="ring", data="aGV5", format="base64")
        self.assertEqual(self.both("ringbuf-read", device="ring", size=100, format="base64"),
                         "eW91aGV5")
        self.assertEqual(self.both("ringbuf-read", device="ring", size=1), "")
        self.assertIsInstance(self.both("ringbuf-write", device="m", data="x"), str)
        self.assertIsInstance(self.both("ringbuf-read", device="ring", size=0), str)


class BackingNameTest(TwinCase):
    def test_an_open_image_is_told_another_name(self):
        for side in self.sides:
            run(PEER_IMG, "create", "-q", "-f", "raw", str(side.folder / "base"), "1M")
            for name, backing, fmt in (("low", "base", "raw"), ("top", "low", "qcow2")):
                run(PEER_IMG, "create", "-q", "-f", "qcow2", "-b", backing, "-F", fmt,
                    str(side.folder / name))
        self.make("other")
        self.open("other", "other")
        self.both("blockdev-add", driver="qcow2", node_name="top",
                  file={"driver": "file", "filename": "top"},
                  backing={"driver": "qcow2", "node-name": "low",
                           "file": {"driver": "file", "filename": "low"},
                           "backing": {"driver": "raw", "node-name": "base",
                                       "file": {"driver": "file", "filename": "base"}}})
        command = "change-backing-file"
        for device, image in (("none", "top"), ("top", "none"), ("top", "base"),
                              ("low", "low")):
            self.assertIsInstance(self.both(command, device=device, image_node_name=image,
                                            backing_file="x"), str)
        self.assertEqual(self.both(command, device="top", image_node_name="low",
                                   backing_file="renamed"), {})
        self.assertEqual(self.both(command, device="top", image_node_name="top",
                                   backing_file=""), {})
        self.assertIsInstance(self.ours.qmp(command, device="top", image_node_name="top",
                                            backing_file="x" * 2000), str)
        for side in self.sides:
            nodes = {node["node-name"]: node for node in side.qmp("query-named-block-nodes")}
            self.assertTrue(nodes["low"]["ro"])
            side.qmp("quit")
            side.process.wait(TIMEOUT)
        low, top = (json.loads(run(PEER_IMG, "info", "--output=json",
                                   str(self.ours.folder / name)).stdout) for name in ("low", "top"))
        self.assertEqual(low["backing-filename"], "renamed")
        self.assertEqual(low["backing-filename-format"], "raw")
        self.assertNotIn("backing-filename", top)
        self.assertEqual(run(PEER_IMG, "check", str(self.ours.folder / "top")).returncode, 0)


class ThreadTest(TwinCase):
    def test_only_mistakes_are_found(self):
        self.make("a")
        self.open("a", "a")
        self.both("object-add", qom_type="iothread", id="t")
        command = "x-blockdev-set-iothread"
        for arguments in ({"node_name": "none", "iothread": "t"},
                          {"node_name": "a", "iothread": "none"}, {"node_name": "a"}):
            self.assertIsInstance(self.both(command, **arguments), str)
        self.assertEqual(self.ours.qmp(command, node_name="a", iothread="t"), {})
        self.assertEqual(self.ours.qmp(command, node_name="a", iothread=None), {})
        self.serve("a")
        self.assertIn("force=true", self.both(command, node_name="a", iothread="t"))


if __name__ == "__main__":
    if not Path(DAEMON).exists():
        sys.exit(f"{DAEMON} is missing")
    unittest.main()
