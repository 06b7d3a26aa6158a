#!/usr/bin/env python3
"""Claims about the NBD server with the clients people use: libnbd's tools, fio, the peer's tools."""
import os
import random
import signal
import socket
import subprocess
import textwrap
import time
import unittest

from daemon import DaemonCase
from nbd_server import OURS, NbdTest, Server, need, run

TOOL = OURS / "ashlar-nbd"


@need("qemu-img", "qemu-io", "nbdinfo", "nbdcopy")
class Clients(NbdTest):
    def test_copies_a_disk_in_and_out_by_four_connections(self):
        self.make("d.qcow2", "64M")
        source = self.folder / "source.raw"
        with open(source, "wb") as file:
            noise = random.Random(1)
            for offset in range(0, 64 << 20, 4 << 20):
                file.seek(offset)
                file.write(noise.randbytes(1 << 20))
            file.truncate(64 << 20)
        with Server(self.folder, "-t", "-e", "8", "--discard=unmap", "-f", "qcow2",
                    "d.qcow2") as server:
            self.ok("nbdcopy", "--connections=4", "source.raw", server.uri)
            self.ok("nbdcopy", "--connections=4", server.uri, "back.raw")
            self.ok("qemu-img", "compare", "-f", "raw", "-F", "raw", "source.raw", server.uri)
        self.assertEqual(source.read_bytes(), (self.folder / "back.raw").read_bytes())
        self.ok("qemu-img", "check", "-q", "d.qcow2")
        self.ok("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "source.raw", "d.qcow2")

    def test_tells_the_map_that_the_peer_tells(self):
        self.make("d.qcow2", "8M")
        self.ok("qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 128k", "-c", "write -q -z 1M 1M",
                "-c", "write -q -P 2 3M 64k", "d.qcow2")
        maps = []
        for program in (TOOL, "/usr/bin/qemu-nbd"):
            with Server(self.folder, "-t", "-r", "-f", "qcow2", "d.qcow2",
                        program=program) as server:
                maps.append(self.ok("nbdinfo", "--map", server.uri))
        self.assertEqual(maps[0], maps[1])

    def test_ends_with_the_last_client_unless_told_to_go_on(self):
        self.make("d.raw", "1M", "raw")
        with Server(self.folder, "-e", "2", "-f", "raw", "d.raw") as server:
            self.ok("nbdinfo", "--size", server.uri)
            self.assertEqual(server.process.wait(20), 0)
            self.assertFalse(server.socket.exists())

    def test_a_second_client_waits_where_one_is_allowed(self):
        self.make("d.raw", "1M", "raw")
        with Server(self.folder, "-t", "-f", "raw", "d.raw") as server:
            first = socket.socket(socket.AF_UNIX)
            first.connect(str(server.socket))
            self.assertEqual(first.recv(8), b"NBDMAGIC")
            second = socket.socket(socket.AF_UNIX)
            second.connect(str(server.socket))
            second.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                second.recv(8)
            first.close()
            second.settimeout(20)
            self.assertEqual(second.recv(8), b"NBDMAGIC")
            second.close()

    def test_zeroes_are_detected_also_in_parts_of_clusters(self):
        for mode in ("on", "unmap"):
            self.make("d.qcow2", "1M")
            with Server(self.folder, "-t", "--discard=unmap", f"--detect-zeroes={mode}",
                        "-f", "qcow2", "d.qcow2") as server:
                self.ok("qemu-io", "-f", "raw", "-c", "write -q -P 7 0 192k", "-c",
                        "write -q -P 0 4k 4k", "-c", "write -q -z 20k 1k", "-c",
                        "write -q -P 0 60k 70k", "-c", "read -q -P 7 0 4k", "-c",
                        "read -q -P 0 4k 4k", "-c", "read -q -P 7 8k 12k", "-c",
                        "read -q -P 0 20k 1k", "-c", "read -q -P 0 60k 70k", "-c",
                        "read -q -P 7 130k 62k", server.uri)
            self.ok("qemu-img", "check", "-q", "d.qcow2")
            shown = self.ok("qemu-img", "map", "d.qcow2")
            self.assertNotIn("0x30000 ", shown)  # one cluster of three was zeroed as a whole

    def test_an_overlay_keeps_the_image_as_it_is(self):
        self.make("d.raw", "1M", "raw")
        with Server(self.folder, "-t", "-s", "-f", "raw", "d.raw") as server:
            self.ok("qemu-io", "-f", "raw", "-c", "write -P 5 0 64k", "-c", "read -P 5 0 64k",
                    server.uri)
        self.assertEqual((self.folder / "d.raw").read_bytes(), bytes(1 << 20))

    def test_listens_on_tcp(self):
        self.make("d.raw", "1M", "raw")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        words = [str(TOOL), "-b", "127.0.0.1", "-p", str(port), "-r", "-f", "raw", "d.raw"]
        server = subprocess.Popen(words, cwd=self.folder)
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    probe.settimeout(1)
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            self.assertEqual(self.ok("nbdinfo", "--size", f"nbd://127.0.0.1:{port}/"), "1048576\n")
            self.assertEqual(server.wait(20), 0)
        finally:
            server.kill()
            server.wait()


@need("qemu-img", "qemu-io", "nbdinfo")
class Life(NbdTest):
    def test_forks_when_it_is_ready_and_ends_by_a_signal(self):
        self.make("d.qcow2", "1M")
        pid_file = self.folder / "pid"
        sock = self.folder / "f.sock"
        self.ok(TOOL, "--fork", f"--pid-file={pid_file}", "-t", "-k", sock, "-f", "qcow2", "d.qcow2")
        pid = int(pid_file.read_text())
        try:
            self.ok("qemu-io", "-f", "raw", "-c", "write -P 7 0 64k", f"nbd+unix:///?socket={sock}")
        finally:
            os.kill(pid, signal.SIGTERM)
        for _ in range(1000):
            if not sock.exists():
                break
            time.sleep(0.01)
        self.assertFalse(sock.exists())
        self.ok("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 7 0 64k", "d.qcow2")

    def test_tells_why_it_could_not_start_when_forked(self):
        done = run(TOOL, "--fork", "-k", self.folder / "x.sock", "-f", "raw", "nope",
                   folder=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Failed to blk_new_open 'nope': Could not open 'nope': No such file",
                      done.stderr)

    def test_takes_a_socket_it_was_started_with(self):
        self.make("d.raw", "1M", "raw")
        path = self.folder / "activated.sock"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(5)
        # The numbers must be those of the process itself.
        start = textwrap.dedent("""
            import os, sys
            os.dup2(int(sys.argv[1]), 3)
            os.set_inheritable(3, True)
            os.environ["LISTEN_FDS"] = "1"
            os.environ["LISTEN_PID"] = str(os.getpid())
            os.execv(sys.argv[2], sys.argv[2:])
            """)
        server = subprocess.Popen(
            ["python3", "-c", start, str(listening.fileno()), str(TOOL), "-r", "-f", "raw",
             "d.raw"], cwd=self.folder, pass_fds=[listening.fileno()])
        try:
            self.assertEqual(self.ok("nbdinfo", "--size", f"nbd+unix:///?socket={path}"),
                             "1048576\n")
            self.assertEqual(server.wait(20), 0)
        finally:
            server.kill()
            server.wait()
            listening.close()

    def test_writes_back_what_it_answered_when_it_is_stopped_under_traffic(self):
        self.make("d.qcow2", "64M")
        with Server(self.folder, "-t", "-f", "qcow2", "d.qcow2") as server:
            client = subprocess.Popen(
                ["qemu-io", "-f", "raw", "-c", "write -P 3 0 8M", "-c", "sleep 100000", server.uri],
                cwd=self.folder, stdout=subprocess.PIPE, text=True)
            time.sleep(0.5)
            self.assertEqual(server.stop(), 0)
            client.kill()
            client.communicate()
        self.ok("qemu-img", "check", "-q", "d.qcow2")

    def test_lists_what_the_peer_lists(self):
        self.make("d.raw", "1M", "raw")
        with Server(self.folder, "-t", "-x", "name", "-D", "some text", "-A", "-f", "raw", "d.raw",
                    program="/usr/bin/qemu-nbd") as server:
            ours = self.ok(TOOL, "-L", "-k", server.socket)
            peer = self.ok("/usr/bin/qemu-nbd", "-L", "-k", server.socket)
        ours = "".join(line for line in ours.splitlines(True) if "transaction size" not in line)
        self.assertEqual(ours, peer)


@need("qemu-img", "qemu-io", "nbdinfo")
class Bitmaps(NbdTest):
    """Dirty bitmaps of images, as clients are told of them."""

    def setUp(self):
        super().setUp()
        self.make("d.qcow2", "64M")
        for name in ("one", "two", "off"):
            self.ok("qemu-img", "bitmap", "--add", "-g", "64k", "d.qcow2", name)
        self.ok("qemu-io", "-f", "qcow2", "-c", "write -q 1M 192k", "-c", "write -q 63M 1M",
                "d.qcow2")
        self.ok("qemu-img", "bitmap", "--disable", "d.qcow2", "off")
        self.ok("qemu-img", "bitmap", "--clear", "d.qcow2", "two")
        self.ok("qemu-io", "-f", "qcow2", "-c", "write -q 5M 64k", "d.qcow2")

    def maps(self, server: Server, *names: str) -> list[str]:
        context = "qemu:dirty-bitmap:"
        image = f"driver=nbd,path={server.socket},x-dirty-bitmap={context}"
        return [self.ok(*words) for name in names for words in (
            ("nbdinfo", f"--map={context}{name}", server.uri),
            ("qemu-img", "map", "--output=json", "--image-opts", image + name),
            (OURS / "ashlar-img", "map", "--output=json", "--image-opts", image + name))]

    def test_show_clients_what_the_peer_shows(self):
        told = []
        for program in (TOOL, "/usr/bin/qemu-nbd"):
            with Server(self.folder, "-t", "-r", "-f", "qcow2", "-B", "one", "-B", "two", "-B",
                        "off", "d.qcow2", program=program) as server:
                told.append(self.maps(server, "one", "two", "off"))
                told[-1] += sorted(line for line in self.ok("nbdinfo", server.uri).splitlines()
                                   if "qemu:" in line or "base:" in line)
        self.assertEqual(told[0], told[1])
        self.assertIn("dirty", told[0][0])

    def test_of_a_backing_image_show_through(self):
        self.ok("qemu-img", "create", "-q", "-f", "qcow2", "-b", "d.qcow2", "-F", "qcow2",
                "top.qcow2")
        told = []
        for program in (TOOL, "/usr/bin/qemu-nbd"):
            with Server(self.folder, "-t", "-f", "qcow2", "-B", "one", "top.qcow2",
                        program=program) as server:
                told.append(self.maps(server, "one"))
        self.assertEqual(told[0], told[1])

    def test_that_nobody_writes_to_are_offered_with_a_writable_disk(self):
        with Server(self.folder, "-t", "-f", "qcow2", "-B", "off", "d.qcow2") as server:
            before = self.maps(server, "off")
            self.ok("qemu-io", "-f", "raw", "-c", "write -q 32M 64k", server.uri)
            self.assertEqual(before, self.maps(server, "off"))
        self.ok("qemu-img", "check", "-q", "d.qcow2")

    def test_that_would_be_out_of_date_or_are_not_there_keep_the_server_from_starting(self):
        done = run(TOOL, "-k", self.folder / "s", "-f", "qcow2", "-B", "one", "d.qcow2",
                   folder=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn('bitmap "one" is enabled', done.stderr)
        for words in (("-r", "-B", "three"), ("-r", "-o", "65536", "-B", "one")):
            told = [run(program, "-k", self.folder / sock, "-f", "qcow2", *words, "d.qcow2",
                        folder=self.folder)
                    for program, sock in ((TOOL, "s"), ("/usr/bin/qemu-nbd", "peer"))]
            self.assertEqual([done.returncode for done in told], [1, 1])
            self.assertEqual(*(done.stderr.partition(": ")[2] for done in told))
        self.assertFalse((self.folder / "s").exists())


@need("qemu-img", "qemu-io", "nbdinfo")
class BitmapsOfMonitors(DaemonCase):
    def test_are_named_alone_or_with_their_node_and_end_with_the_medium(self):
        image = self.image("d.qcow2", "1M", "qcow2")
        run("qemu-img", "bitmap", "--add", image, "b", folder=self.folder)
        run("qemu-io", "-f", "qcow2", "-c", "write -q 0 64k", image, folder=self.folder)
        qmp = self.start()
        self.assertEqual(qmp("blockdev-add", driver="qcow2", node_name="disk", read_only=True,
                             file={"driver": "file", "filename": image}), {})
        self.assertEqual(qmp("backend-add", id="drive", node_name="disk"), {})
        sock = self.path("nbd.sock")
        self.assertEqual(qmp("nbd-server-start",
                             addr={"type": "unix", "data": {"path": sock}}), {})
        for name, more in (("one", {"node-name": "disk", "bitmaps": ["b"]}),
                           ("two", {"backend": "drive",
                                    "bitmaps": [{"node": "disk", "name": "b"}]})):
            self.assertEqual(qmp.execute("block-export-add", {
                "type": "nbd", "id": name, "name": name, **more}), {"return": {}})

        def told(name):
            return run("nbdinfo", "--map=qemu:dirty-bitmap:b",
                       f"nbd+unix:///{name}?socket={sock}", folder=self.folder)
        self.assertRegex(told("one").stdout, r"0 +65536 +1 +dirty\n +65536 +983040 +0 +clean")
        self.assertEqual(told("one").stdout, told("two").stdout)
        self.assertEqual(qmp("blockdev-change-medium", id="drive", format="raw",
                             filename=self.image("e.raw")), {})
        self.assertIn("dirty", told("one").stdout)
        self.assertNotEqual(told("two").returncode, 0)


@need("qemu-img", "nbdinfo")
class Early(NbdTest):
    def test_clients_wait_until_the_image_is_open(self):
        self.make("d.raw", "1M", "raw")
        image = f"driver=raw,file.driver=nbd,file.path={self.folder}/later,file.open-timeout=60"
        words = ["-t", "-r", "--image-opts", image]
        with Server(self.folder, *words) as server:  # returns when the socket is there
            client = subprocess.Popen(["nbdinfo", "--size", server.uri], stdout=subprocess.PIPE,
                                      text=True)
            try:
                with self.assertRaises(subprocess.TimeoutExpired):
                    client.wait(0.5)
                origin = subprocess.Popen([str(TOOL), "-t", "-k", str(self.folder / "later"), "-f",
                                           "raw", "d.raw"], cwd=self.folder)
                self.addCleanup(origin.wait)
                self.addCleanup(origin.kill)
                self.assertEqual(client.communicate(timeout=60)[0], "1048576\n")
            finally:
                client.kill()
                client.wait()

    def test_the_socket_goes_when_the_image_cannot_be_opened(self):
        done = run(TOOL, "-k", self.folder / "s", "-f", "qcow2", "none", folder=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Failed to blk_new_open 'none'", done.stderr)
        self.assertFalse((self.folder / "s").exists())


@need("qemu-img", "nbdinfo", "certtool")
class Tls(NbdTest):
    """With an authority of our own, for 127.0.0.1 and "localhost"."""

    def certify(self) -> None:
        pki = self.folder / "pki"
        pki.mkdir()
        (pki / "ca.cfg").write_text("cn = test\nca\ncert_signing_key\n")
        (pki / "server.cfg").write_text(
            "cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\n"
            "tls_www_server\nencryption_key\nsigning_key\n")
        (pki / "client.cfg").write_text(
            "country = GB\norganization = \"Ash, Lar\"\ncn = laptop\n"
            "tls_www_client\nencryption_key\nsigning_key\n")
        for name in ("ca", "server", "client"):
            self.ok("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile",
                    pki / f"{name}-key.pem")
        self.ok("certtool", "--generate-self-signed", "--load-privkey", pki / "ca-key.pem",
                "--template", pki / "ca.cfg", "--outfile", pki / "ca-cert.pem")
        for name in ("server", "client"):
            self.ok("certtool", "--generate-certificate", "--load-ca-certificate",
                    pki / "ca-cert.pem", "--load-ca-privkey", pki / "ca-key.pem", "--load-privkey",
                    pki / f"{name}-key.pem", "--template", pki / f"{name}.cfg", "--outfile",
                    pki / f"{name}-cert.pem")

    def creds(self, endpoint: str) -> list[str]:
        return ["--object", f"tls-creds-x509,id=t,dir={self.folder}/pki,endpoint={endpoint},"
                "verify-peer=" + ("off" if endpoint == "server" else "on"), "--tls-creds=t"]

    def test_lets_in_whom_the_authorization_permits_in_the_peers_words(self):
        self.certify()
        self.make("d.raw", "1M", "raw")
        rules = "authz-list,id=z,policy=deny,rules.0.policy=allow,rules.0.match="
        image = (f"driver=nbd,path={self.folder}/nbd.sock,export=d,tls-creds=t,"
                 "tls-hostname=localhost")
        creds = f"tls-creds-x509,id=t,dir={self.folder}/pki,verify-peer=on"
        for authorization, permitted in (
                (rules + "C=GB,,O=Ash\\,, Lar,,CN=laptop", True),
                (rules + "C=GB*,rules.0.format=glob", True),
                (rules + "CN=laptop*,rules.0.format=glob", False),
                ("authz-simple,id=z,identity=C=GB,,O=Ash\\,, Lar,,CN=laptop", True),
                ("authz-list,id=z,policy=deny", False), ("authz-list,id=other,policy=allow", False)):
            for program in (TOOL, "/usr/bin/qemu-nbd"):
                with Server(self.folder, "-t", "-x", "d", "--object", creds + ",endpoint=server",
                            "--tls-creds=t", "--object", authorization, "--tls-authz=z", "-f",
                            "raw", "d.raw", program=program):
                    done = run("qemu-img", "info", "--object", creds + ",endpoint=client",
                               "--image-opts", image, folder=self.folder)
                    self.assertEqual(done.returncode == 0, permitted,
                                     f"{program} {authorization}: {done.stderr}")

    def test_serves_by_tls_only_and_lists_by_tls(self):
        self.certify()
        self.make("d.raw", "1M", "raw")
        with Server(self.folder, "-t", "-x", "disk", *self.creds("server"), "-f", "raw",
                    "d.raw") as server:
            self.assertNotEqual(run("nbdinfo", "--size", server.uri_of("disk"),
                                    folder=self.folder).returncode, 0)
            for program in ("/usr/bin/qemu-nbd", TOOL):
                listed = self.ok(program, "-L", "-k", server.socket, *self.creds("client"),
                                 "--tls-hostname=localhost")
                self.assertIn("export: 'disk'", listed)
            wrong = run(TOOL, "-L", "-k", server.socket, *self.creds("client"),
                        "--tls-hostname=elsewhere", folder=self.folder)
            self.assertEqual(wrong.returncode, 1)
            self.ok("qemu-io", "--image-opts", "--object", f"tls-creds-x509,id=t,dir={self.folder}"
                    "/pki,endpoint=client", "-c", "write -P 9 0 1M", "-c", "read -P 9 0 1M",
                    f"driver=raw,file.driver=nbd,file.path={server.socket},file.export=disk,"
                    "file.tls-creds=t,file.tls-hostname=localhost")


if __name__ == "__main__":
    unittest.main()
