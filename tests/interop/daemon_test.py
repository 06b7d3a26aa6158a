#!/usr/bin/env python3
"""The storage daemon as clients of its monitors see it: the wire, the graph, the process."""
import os
import socket
import subprocess
import sys
import unittest
import xml.dom.minidom
from pathlib import Path

from daemon import DAEMON, IMG, TIMEOUT, DaemonCase, Qmp


class WireTest(DaemonCase):
    def test_several_monitors_all_hear_events(self):
        first, second = self.start(monitors=2)
        first("blockdev-create", job_id="j",
              options={"driver": "file", "filename": self.path("n"), "size": 512})
        for client in (first, second):
            states = [client.event("JOB_STATUS_CHANGE")["status"] for _ in range(5)]
            self.assertEqual(states, ["created", "running", "waiting", "pending", "concluded"])

    def test_bad_input_of_one_client_concerns_nobody_else(self):
        bad, good = self.start(monitors=2)
        bad.send(b"[" * 2_000_000)
        bad.send(b"\n\xff{]\x01 'x")
        self.assertEqual(good("query-block"), [])
        bad.send(b"\n")
        bad.close()
        self.assertEqual(good("query-block"), [])
        again = Qmp(self.path("qmp0"))
        self.addCleanup(again.close)
        self.assertEqual(again("query-block"), [])

    def test_a_client_that_does_not_read_is_not_served_any_further(self):
        lazy, good = self.start(monitors=2)
        lazy.socket.settimeout(2)
        with self.assertRaises(socket.timeout):
            for _ in range(100000):
                lazy.send('{"execute":"query-qmp-schema"}')
        self.assertEqual(good("query-block"), [])

    def test_the_schema_describes_every_command_and_reply(self):
        qmp = self.start()
        schema = qmp("query-qmp-schema")
        types = {entry["name"]: entry for entry in schema}
        commands = {entry["name"] for entry in qmp("query-commands")}
        self.assertEqual(commands, {e["name"] for e in schema if e["meta-type"] == "command"})
        named = [t for e in schema for t in
                 [e.get("arg-type"), e.get("ret-type"), e.get("element-type")]
                 + [m.get("type") for m in e.get("members", []) if m.get("type")]
                 + [v["type"] for v in e.get("variants", [])] if t is not None]
        self.assertEqual({name for name in named if name not in types}, set())
        for entry in schema:
            self.assertNotEqual((entry["meta-type"], entry.get("json-type")),
                                ("builtin", None), entry)


class GraphTest(DaemonCase):
    def test_nodes_are_opened_shown_and_closed(self):
        qmp = self.start()
        self.add_raw(qmp, "disk", self.image("a.raw", pattern=7))
        names = [node["node-name"] for node in qmp("query-named-block-nodes")]
        self.assertIn("disk", names)
        graph = qmp("x-debug-query-block-graph")
        self.assertEqual([edge["name"] for edge in graph["edges"]], ["file"])
        self.assertIn("digraph", qmp("x-draw-block-graph")["text"])
        self.assertIn("<svg", qmp("x-draw-block-graph", format="svg")["text"])
        self.assertEqual(qmp("blockdev-del", node_name="disk"), {})
        self.assertEqual(qmp("query-named-block-nodes"), [])

    def test_node_and_backend_names_share_one_space(self):
        qmp = self.start()
        self.add_raw(qmp, "disk", self.image("a.raw"))
        self.assertIn("disk", qmp("backend-add", id="disk"))
        self.assertEqual(qmp("backend-add", id="drive"), {})
        self.assertIn("drive", qmp("backend-add", id="drive"))
        self.assertIn("1x", qmp("backend-add", id="1x"))
        self.assertEqual([each["device"] for each in qmp("query-block")], ["drive"])

    def test_a_node_in_use_is_not_deleted(self):
        qmp = self.start()
        self.add_raw(qmp, "disk", self.image("a.raw"))
        self.assertEqual(qmp("backend-add", id="drive", node_name="disk"), {})
        self.assertEqual(qmp("blockdev-del", node_name="disk"), "Node disk is in use")
        self.assertEqual(qmp("eject", id="drive"), {})
        self.assertEqual(qmp("blockdev-del", node_name="disk"), {})

    def test_a_failed_change_leaves_the_old_medium(self):
        qmp = self.start()
        self.add_raw(qmp, "disk", self.image("a.raw"))
        qmp("backend-add", id="drive", node_name="disk")
        self.assertIn("nothere", qmp("blockdev-change-medium", id="drive",
                                     filename=self.path("nothere"), format="raw"))
        self.assertEqual(qmp("query-block")[0]["inserted"]["node-name"], "disk")
        self.assertEqual(qmp("blockdev-change-medium", id="drive", format="raw",
                             filename=self.image("b.raw", "2M")), {})
        self.assertEqual(qmp("query-block")[0]["inserted"]["image"]["virtual-size"], 2 << 20)
        self.assertIn("already", qmp("blockdev-insert-medium", id="drive", node_name="disk"))


class ProcessTest(DaemonCase):
    def test_quit_and_signals_end_it_cleanly(self):
        qmp = self.start("--pidfile", "pid")
        self.assertEqual((self.folder / "pid").read_text(), f"{self.process.pid}\n")
        self.assertEqual(qmp("quit"), {})
        self.assertIsNone(qmp.read())
        self.assertEqual(self.process.wait(TIMEOUT), 0)
        self.assertFalse((self.folder / "pid").exists())
        self.start()
        self.assertEqual(self.stop(), (0, ""))

    def test_daemonize_returns_when_everything_is_ready(self):
        argv = [DAEMON, "--daemonize", "--pidfile", "pid", "--chardev",
                "socket,id=m,path=qmp,server=on,wait=off", "--monitor", "m"]
        subprocess.run(argv, cwd=self.folder, check=True, timeout=TIMEOUT)
        qmp = Qmp(self.path("qmp"))
        self.assertEqual(qmp("quit"), {})
        self.assertIsNone(qmp.read())
        qmp.close()
        failed = subprocess.run([DAEMON, "--daemonize", "--blockdev", "driver=file,node-name=f,"
                                 "filename=nothere"], cwd=self.folder, timeout=TIMEOUT,
                                capture_output=True, text=True)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("Could not open 'nothere'", failed.stderr)

    def test_it_tells_the_service_manager_that_it_is_ready(self):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.settimeout(TIMEOUT)
        manager.bind(self.path("notify"))
        os.environ["NOTIFY_SOCKET"] = self.path("notify")
        self.addCleanup(os.environ.pop, "NOTIFY_SOCKET")
        self.start()
        self.assertEqual(manager.recv(100), b"READY=1")
        self.stop()
        self.assertEqual(manager.recv(100), b"STOPPING=1")

    def test_it_takes_over_a_socket_of_the_service_manager(self):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path("given"))
        listener.listen()

        def become_service():
            os.dup2(listener.fileno(), 3)
            os.set_inheritable(3, True)
            os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))

        daemon = subprocess.Popen([DAEMON, "--chardev", "socket,id=m,fd=3,server=on,wait=off",
                                   "--monitor", "m"], preexec_fn=become_service, close_fds=False)
        qmp = Qmp(self.path("given"))
        self.addCleanup(qmp.close)
        self.assertEqual(qmp("quit"), {})
        self.assertEqual(daemon.wait(TIMEOUT), 0)

    def test_the_graph_is_drawn(self):
        self.image("a.raw")
        qmp = self.start("--blockdev", "driver=file,node-name=f,filename=a.raw",
                         "--draw-graph", "graph.dot", "--draw-graph", "graph.svg")
        self.assertIn('label="f\\nfile"', (self.folder / "graph.dot").read_text())
        drawing = xml.dom.minidom.parse(self.path("graph.svg"))
        self.assertEqual(len(drawing.getElementsByTagName("rect")), 1)
        qmp("quit")
        self.image("top.qcow2", fmt="qcow2")
        drawn = subprocess.run([IMG, "info", "--graph=svg", self.path("top.qcow2")], check=True,
                               capture_output=True, text=True)
        drawing = xml.dom.minidom.parseString(drawn.stdout)
        self.assertEqual(len(drawing.getElementsByTagName("rect")), 2)

    def test_options_are_carried_out_from_left_to_right(self):
        image = self.image("a.raw")
        first = f"driver=file,node-name=f,filename={image}"
        second = "driver=raw,node-name=r,file=f"
        qmp = self.start("--blockdev", first, "--blockdev", second)
        self.assertEqual(len(qmp("query-named-block-nodes")), 2)
        self.stop()
        wrong = subprocess.run([DAEMON, "--blockdev", second, "--blockdev", first],
                               capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(wrong.returncode, 1)
        self.assertIn(f"--blockdev {second}: Cannot find device='f' nor node-name='f'",
                      wrong.stderr)


if __name__ == "__main__":
    if not Path(DAEMON).exists():
        sys.exit(f"{DAEMON} is missing")
    unittest.main()
