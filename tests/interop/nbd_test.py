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
        for name in ("ca", "server"):
            self.ok("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile",
                    pki / f"{name}-key.pem")
        self.ok("certtool", "--generate-self-signed", "--load-privkey", pki / "ca-key.pem",
                "--template", pki / "ca.cfg", "--outfile", pki / "ca-cert.pem")
        self.ok("certtool", "--generate-certificate", "--load-ca-certificate", pki / "ca-cert.pem",
                "--load-ca-privkey", pki / "ca-key.pem", "--load-privkey", pki / "server-key.pem",
                "--template", pki / "server.cfg", "--outfile", pki / "server-cert.pem")

    def creds(self, endpoint: str) -> list[str]:
        return ["--object", f"tls-creds-x509,id=t,dir={self.folder}/pki,endpoint={endpoint},"
                "verify-peer=" + ("off" if endpoint == "server" else "on"), "--tls-creds=t"]

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
