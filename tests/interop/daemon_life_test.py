#!/usr/bin/env python3
"""The life of backends in the storage daemon, with a real NBD client attached: every row of what
holds when media, devices and the daemon itself come and go."""
import resource
import subprocess
import sys
import unittest
from pathlib import Path

from daemon import DAEMON, DaemonCase, IO
from nbd_client import NbdClient, interpreter


@unittest.skipUnless(interpreter(), "libnbd's Python module is not installed")
class LifeCase(DaemonCase):
    def serve(self, *options, **more):
        qmp = self.start("--nbd-server", f"addr.type=unix,addr.path={self.path('nbd')}", *options,
                         **more)
        return qmp

    def client(self, name):
        client = NbdClient(f"nbd+unix:///{name}?socket={self.path('nbd')}")
        self.addCleanup(client.close)
        return client

    def add_drive(self, qmp, name="drive", image=None, **more):
        """A backend with a medium, exported under its name."""
        if image is not None:
            self.add_raw(qmp, f"{name}-medium", image)
            more["node_name"] = f"{name}-medium"
        self.assertEqual(qmp("backend-add", id=name, **more), {})

    def export(self, qmp, name="drive", **more):
        more.setdefault("writable", True)
        self.assertEqual(qmp("block-export-add", type="nbd", id=f"export-{name}", backend=name,
                             name=name, **more), {})

    def byte_of(self, image):
        return Path(image).read_bytes()[0]


class MediumTest(LifeCase):
    def test_an_export_may_name_a_backend_without_a_medium(self):
        qmp = self.serve()
        self.add_drive(qmp)
        self.export(qmp)
        empty = self.client("drive")
        self.assertEqual(empty("size"), (True, 0))
        self.assertNotIn("inserted", qmp("query-block")[0])
        self.add_raw(qmp, "medium", self.image("a.raw", pattern=7))
        self.assertEqual(qmp("blockdev-insert-medium", id="drive", node_name="medium"), {})
        full = self.client("drive")
        self.assertEqual((full("size"), full.byte()), ((True, 1 << 20), 7))

    def test_a_client_stays_connected_while_the_medium_is_changed(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw", pattern=1))
        self.export(qmp)
        client = self.client("drive")
        self.assertEqual(client.byte(), 1)
        self.assertEqual(qmp("blockdev-change-medium", id="drive", format="raw",
                             filename=self.image("b.raw", pattern=2)), {})
        self.assertEqual(client.byte(), 2)
        self.assertIn("nothere", qmp("blockdev-change-medium", id="drive", format="raw",
                                     filename=self.path("nothere")))
        self.assertEqual(client.byte(), 2)

    def test_no_read_sees_half_of_a_change(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw", pattern=1))
        self.export(qmp)
        other = self.image("b.raw", pattern=2)
        client = self.client("drive")
        client.begin("hammer", 256 << 10, 1.0)
        for filename in [other, self.path("a.raw")] * 20:
            self.assertEqual(qmp("blockdev-change-medium", id="drive", format="raw",
                                 filename=filename), {})
        done, (reads, torn) = client.finish()
        self.assertTrue(done)
        self.assertGreater(reads, 5)
        self.assertEqual(torn, 0)

    def test_without_a_medium_requests_end_and_the_client_stays(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw", pattern=1))
        self.export(qmp)
        client = self.client("drive")
        self.assertEqual(qmp("eject", id="drive"), {})
        self.assertIsInstance(client.byte(), str)
        self.assertEqual(qmp("eject", id="drive"), {})
        self.assertEqual(qmp("blockdev-insert-medium", id="drive", node_name="drive-medium"), {})
        self.assertEqual(client.byte(), 1)

    def test_a_resized_medium_is_told_to_new_clients(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw"))
        self.export(qmp)
        first = self.client("drive")
        self.assertEqual(qmp("block_resize", device="drive", size=2 << 20), {})
        self.assertEqual(self.client("drive")("size"), (True, 2 << 20))
        self.assertEqual(first("size"), (True, 1 << 20))

    def test_requests_wait_while_a_node_is_reopened(self):
        qmp = self.serve()
        image = self.image("a.raw")
        self.add_drive(qmp, image=image)
        self.export(qmp)
        client = self.client("drive")
        client.begin("fill", 4096, 1.0)
        file = {"driver": "file", "filename": image}
        for direct in (False, True) * 10:
            node = {"driver": "raw", "node-name": "drive-medium", "file": file,
                    "cache": {"no-flush": direct}}
            self.assertEqual(qmp("blockdev-reopen", options=[node]), {})
        done, writes = client.finish()
        self.assertTrue(done, writes)
        self.assertGreater(writes, 10)


class DeviceTest(LifeCase):
    def test_a_backend_has_one_device(self):
        qmp = self.serve()
        self.add_drive(qmp)
        self.export(qmp)
        again = qmp("block-export-add", type="nbd", id="second", backend="drive", name="x")
        self.assertIn("drive", again)
        self.assertIn("export-drive", again)
        self.assertIn("export-drive", qmp("query-block")[0]["qdev"])

    def test_deleting_under_a_client_takes_name_and_medium_at_once(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw", pattern=1))
        self.export(qmp)
        client = self.client("drive")
        self.assertEqual(client.byte(), 1)
        self.assertEqual(qmp("backend-del", id="drive"), {})
        self.assertIsInstance(client.byte(), str)
        self.assertEqual(qmp("blockdev-del", node_name="drive-medium"), {})
        self.assertEqual(qmp("query-block"), [])
        self.assertEqual(qmp("backend-add", id="drive"), {})
        self.assertEqual([each["id"] for each in qmp("query-block-exports")], ["export-drive"])
        self.assertEqual(qmp("block-export-del", id="export-drive", mode="hard"), {})
        self.assertEqual(qmp.event("BLOCK_EXPORT_DELETED"), {"id": "export-drive"})

    def test_what_the_user_made_stays_when_its_export_goes(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw"))
        self.export(qmp)
        self.assertEqual(qmp("block-export-del", id="export-drive"), {})
        self.assertEqual(qmp("query-block")[0]["inserted"]["node-name"], "drive-medium")
        self.add_raw(qmp, "plain", self.image("b.raw"))
        qmp("block-export-add", type="nbd", id="e", node_name="plain")
        self.assertEqual(qmp("blockdev-del", node_name="plain"), "Node plain is in use")
        self.assertEqual(qmp("block-export-del", id="e"), {})
        self.assertEqual(qmp("blockdev-del", node_name="plain"), {})
        kinds = [node["type"] for node in qmp("x-debug-query-block-graph")["nodes"]]
        self.assertEqual(kinds.count("block-backend"), 1)

    def test_a_safe_removal_waits_for_no_client_and_a_hard_one_drops_them(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw"))
        self.export(qmp)
        client = self.client("drive")
        self.assertEqual(qmp("block-export-del", id="export-drive"),
                         "export 'export-drive' still in use")
        self.assertEqual(client.byte(), 0)
        self.assertEqual(qmp("block-export-del", id="export-drive", mode="hard"), {})
        qmp.event("BLOCK_EXPORT_DELETED")
        self.assertFalse(client("read", 1, 0)[0])
        self.export(qmp)
        self.assertEqual(self.client("drive").byte(), 0)

    def test_stopping_the_server_removes_its_exports(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw"))
        self.export(qmp)
        self.client("drive")
        self.assertEqual(qmp("nbd-server-stop"), {})
        self.assertEqual(qmp("query-block-exports"), [])
        self.assertEqual(qmp("nbd-server-stop"), "NBD server not running")
        self.assertEqual(qmp("block-export-add", type="nbd", id="e", backend="drive"),
                         "NBD server not running")
        self.assertEqual(qmp("query-block")[0].get("qdev"), None)


class ErrorTest(LifeCase):
    LIMIT = 1 << 20

    def limit_files(self, size):
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def broken_drive(self, **policies):
        """An export of a sparse image of which only the start can be written."""
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw", "4M"), **policies)
        self.export(qmp)
        self.limit_files(self.LIMIT)
        return qmp, self.client("drive")

    def test_reported_errors_reach_the_client_and_the_monitor(self):
        qmp, client = self.broken_drive(on_write_error="report")
        self.assertFalse(client("write", 1, 4096, 2 << 20)[0])
        event = qmp.event("BLOCK_IO_ERROR")
        self.assertEqual((event["device"], event["operation"], event["action"]),
                         ("drive", "write", "report"))
        self.assertEqual(event["node-name"], "drive-medium")
        self.assertEqual(client("write", 1, 4096, 0)[0], True)

    def test_ignored_errors_do_not(self):
        qmp, client = self.broken_drive(on_write_error="ignore")
        self.assertTrue(client("write", 1, 4096, 2 << 20)[0])
        self.assertEqual(qmp.event("BLOCK_IO_ERROR")["action"], "ignore")

    def test_a_stopped_write_waits_until_it_can_succeed(self):
        qmp, client = self.broken_drive(on_write_error="stop")
        client.begin("write", 9, 4096, 2 << 20)
        self.assertEqual(qmp.event("BLOCK_IO_ERROR")["action"], "stop")
        qmp.event("STOP")
        self.assertEqual(qmp("query-block")[0]["io-status"], "failed")
        self.assertEqual(qmp("cont"), {})  # still broken: it stops again
        self.assertEqual(qmp.event("BLOCK_IO_ERROR")["action"], "stop")
        self.limit_files(resource.RLIM_INFINITY)
        self.assertEqual(qmp("cont"), {})
        self.assertTrue(client.finish()[0])
        self.assertEqual(client.byte(2 << 20), 9)
        self.assertEqual(qmp("query-block")[0]["io-status"], "ok")

    def test_what_a_policy_holds_ends_with_the_export(self):
        qmp, client = self.broken_drive(on_write_error="stop")
        client.begin("write", 9, 4096, 2 << 20)
        qmp.event("STOP")
        self.assertEqual(qmp("block-export-del", id="export-drive", mode="hard"), {})
        qmp.event("BLOCK_EXPORT_DELETED")
        self.assertFalse(client.finish()[0])

    def test_reported_errors_are_told_once_a_second(self):
        qmp, client = self.broken_drive(on_write_error="report")
        for _ in range(50):
            client("write", 1, 4096, 2 << 20)
        qmp("query-version")
        told = [event for event in qmp.events if event["event"] == "BLOCK_IO_ERROR"]
        self.assertLessEqual(len(told), 2)


class LimitTest(LifeCase):
    NONE = dict(bps=0, bps_rd=0, bps_wr=0, iops=0, iops_rd=0, iops_wr=0)

    def test_limits_of_a_backend_hold_back_its_clients(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw"))
        self.export(qmp)
        client = self.client("drive")
        limits = {"id": "drive", **self.NONE, "iops": 10}
        self.assertEqual(qmp.execute("block_set_io_throttle", limits), {"return": {}})
        medium = qmp("query-block")[0]["inserted"]
        self.assertEqual((medium["iops"], medium["group"]), (10, "drive"))
        done, writes = client("fill", 4096, 1.0)
        self.assertTrue(done)
        self.assertLess(writes, 40)
        wrong = qmp.execute("block_set_io_throttle", {**limits, "iops_rd": 5})
        self.assertIn("error", wrong)
        self.assertEqual(qmp.execute("block_set_io_throttle", {"id": "drive", **self.NONE}),
                         {"return": {}})
        self.assertNotIn("group", qmp("query-block")[0]["inserted"])

    def test_a_throttle_group_is_changed_while_a_filter_uses_it(self):
        qmp = self.start("--object", "throttle-group,id=g,limits.iops-total=5")
        path = {"path": "/objects/g", "property": "limits"}
        self.assertEqual(qmp("qom-get", **path)["iops-total"], 5)
        self.add_raw(qmp, "disk", self.image("a.raw"))
        node = {"driver": "throttle", "node-name": "slow", "throttle-group": "g", "file": "disk"}
        self.assertEqual(qmp.execute("blockdev-add", node), {"return": {}})
        self.assertIn("in use", qmp("object-del", id="g"))
        changed = qmp.execute("qom-set", {**path, "value": {"bps-read": 1000}})
        self.assertEqual(changed, {"return": {}})
        limits = qmp("qom-get", **path)
        self.assertEqual((limits["iops-total"], limits["bps-read"]), (0, 1000))
        self.assertEqual(qmp("blockdev-del", node_name="slow"), {})
        self.assertEqual(qmp("object-del", id="g"), {})


class EndTest(LifeCase):
    def test_a_signal_flushes_what_clients_wrote(self):
        qmp = self.serve()
        image = self.image("a.qcow2", "4M", "qcow2")
        node = {"driver": "qcow2", "node-name": "disk",
                "file": {"driver": "file", "filename": image}}
        self.assertEqual(qmp.execute("blockdev-add", node), {"return": {}})
        self.add_drive(qmp, node_name="disk")
        self.export(qmp)
        client = self.client("drive")
        self.assertTrue(client("write", 5, 1 << 20, 1 << 20)[0])
        client.begin("fill", 65536, 5.0)
        self.assertEqual(self.stop(), (0, ""))
        client.finish()
        read = subprocess.run([IO, "-f", "qcow2", "-c", "read -P 5 1M 1M", image],
                              capture_output=True, text=True, check=True)
        self.assertNotIn("Pattern", read.stdout)

    def test_a_signal_ends_a_daemon_whose_requests_are_stopped(self):
        qmp = self.serve()
        self.add_drive(qmp, image=self.image("a.raw", "4M"), on_write_error="stop")
        self.export(qmp)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE,
                         (1 << 20, resource.RLIM_INFINITY))
        client = self.client("drive")
        client.begin("write", 9, 4096, 2 << 20)
        qmp.event("STOP")
        self.assertEqual(self.stop()[0], 0)


class ThreadTest(LifeCase):
    def test_clients_are_served_on_iothreads_that_stay_while_they_are_used(self):
        qmp = self.start("--object", "iothread,id=t0", "--object", "iothread,id=t1",
                         "--nbd-server", f"addr.type=unix,addr.path={self.path('nbd')},"
                         "iothread.0=t0,iothread.1=t1")
        self.add_drive(qmp, image=self.image("a.raw", pattern=3))
        self.export(qmp, iothread=["t0", "t1"])
        clients = [self.client("drive") for _ in range(3)]
        self.assertEqual([client.byte() for client in clients], [3, 3, 3])
        self.assertIn("in use", qmp("object-del", id="t0"))
        self.assertEqual(qmp("block-export-del", id="export-drive", mode="hard"), {})
        qmp.event("BLOCK_EXPORT_DELETED")
        self.assertIn("in use", qmp("object-del", id="t0"))
        self.assertEqual(qmp("nbd-server-stop"), {})
        self.assertEqual(qmp("object-del", id="t0"), {})
        for round_number in range(100):
            added = qmp("object-add", qom_type="iothread", id=f"r{round_number}")
            self.assertEqual(added, {})
            self.assertEqual(qmp("object-del", id=f"r{round_number}"), {})
        self.assertEqual(qmp("block-export-add", type="nbd", id="e", backend="drive",
                             iothread="nobody"), 'iothread "nobody" not found')


class TlsTest(LifeCase):
    def test_clients_must_use_tls_where_the_server_has_credentials(self):
        keys = self.folder / "keys.psk"
        keys.write_text("alice:0123456789abcdef0123456789abcdef\n")
        qmp = self.start("--object", f"tls-creds-psk,id=tls,endpoint=server,dir={self.folder}",
                         "--nbd-server", f"addr.type=unix,addr.path={self.path('nbd')},"
                         "tls-creds=tls")
        self.add_drive(qmp, image=self.image("a.raw", pattern=8))
        self.export(qmp)
        with self.assertRaises(OSError):
            self.client("drive")
        client = NbdClient(f"nbds+unix://alice@/drive?socket={self.path('nbd')}"
                           f"&tls-psk-file={keys}")
        self.addCleanup(client.close)
        self.assertEqual(client.byte(), 8)
        qmp("nbd-server-stop")
        address = {"type": "unix", "data": {"path": self.path("nbd")}}
        self.assertIn("nobody", qmp("nbd-server-start", addr=address, tls_creds="nobody"))


    def test_the_authorization_of_the_moment_decides(self):
        keys = self.folder / "keys.psk"
        keys.write_text("alice:0123456789abcdef0123456789abcdef\nbob:00112233\n")
        qmp = self.start("--object", f"tls-creds-psk,id=tls,endpoint=server,dir={self.folder}",
                         "--nbd-server", f"addr.type=unix,addr.path={self.path('nbd')},"
                         "tls-creds=tls,tls-authz=who")
        self.add_drive(qmp, image=self.image("a.raw", pattern=8))
        self.export(qmp)

        def enter(user):
            client = NbdClient(f"nbds+unix://{user}@/drive?socket={self.path('nbd')}"
                               f"&tls-psk-file={keys}")
            self.addCleanup(client.close)
            return client

        def refused(user):
            with self.assertRaises(OSError):
                enter(user)

        refused("alice")  # there is no object yet
        self.assertEqual(qmp("object-add", qom_type="authz-simple", id="who", identity="alice"), {})
        alice = enter("alice")
        refused("bob")
        self.assertEqual(qmp("qom-set", path="/objects/who", property="identity", value="bob"), {})
        bob = enter("bob")
        refused("alice")
        self.assertEqual(qmp("object-del", id="who"), {})
        rules = [{"match": "*", "policy": "allow", "format": "glob"}]
        qmp("object-add", qom_type="authz-list", id="who", rules=rules)
        self.assertEqual(qmp("qom-get", path="/objects/who", property="rules"), rules)
        self.assertEqual(qmp("qom-get", path="/objects/who", property="policy"), "deny")
        for client in (alice, bob, enter("alice")):
            self.assertEqual(client.byte(), 8)
        qmp("nbd-server-stop")
        address = {"type": "unix", "data": {"path": self.path("nbd")}}
        self.assertIn("tls-creds", qmp("nbd-server-start", addr=address, tls_authz="who"))


class HumanTest(LifeCase):
    def test_people_can_do_the_same(self):
        image = self.image("a.raw", pattern=4)
        script = "\n".join([f"drive_add 0 if=none,id=d,file={image},format=raw", "info block",
                            'qemu-io d "read -P 4 0 64k"', 'qemu-io d "write -P 6 0 64k"',
                            f"nbd_server_start unix:{self.path('nbd')}", "nbd_server_add -w d",
                            "info block-exports", "info block-graph dot", "eject d", "info block",
                            f"change d {image} raw", "drive_del d", "info block", "quit", ""])
        done = subprocess.run([DAEMON, "--chardev", "stdio,id=m", "--monitor",
                               "chardev=m,mode=readline"], input=script, capture_output=True,
                              text=True, timeout=20, check=True)
        out = done.stdout
        for expected in ("OK", f"{image} (raw)", "read 65536/65536 bytes at offset 0",
                         "wrote 65536/65536 bytes at offset 0", "d: type=nbd backend=d", "digraph",
                         "d: [not inserted]"):
            self.assertIn(expected, out)
        self.assertNotIn("Error", out)
        self.assertNotIn("Pattern", out)
        self.assertEqual(self.byte_of(image), 6)


if __name__ == "__main__":
    if not Path(DAEMON).exists():
        sys.exit(f"{DAEMON} is missing")
    unittest.main()
