#!/usr/bin/env python3
"""Claims about the NBD client driver against real servers, nbdkit and the peer's, beside the peer."""
import json
import os
import socket
import subprocess
import time
import unittest
from pathlib import Path

from nbd_server import OURS, NbdTest, Server, need, run
from twins import comparable

IMG, IO = OURS / "ashlar-img", OURS / "ashlar-io"
PEER_SERVER = Path("/usr/bin/qemu-nbd")


class Nbdkit:
    """nbdkit on a unix socket. A context."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.socket = folder / "kit.sock"
        self.uri = f"nbd+unix://?socket={self.socket}"
        self.pid_file = folder / "kit.pid"
        self.words = ["nbdkit", "-f", "-P", str(self.pid_file), "-U", str(self.socket), *words]

    def __enter__(self) -> "Nbdkit":
        self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while not self.pid_file.exists():
            if self.process.poll() is not None:
                said = self.process.stderr.read().decode()
                self.process.stderr.close()
                raise AssertionError(said)
        return self

    def __exit__(self, *unused) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.process.stderr.close()
        self.pid_file.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)


class DriverTest(NbdTest):
    def pattern(self, name: str, size: int = 6 << 20) -> Path:
        """Random data with a hole in the middle."""
        path = self.folder / name
        with open(path, "wb") as stream:
            stream.write(os.urandom(size // 3))
            stream.truncate(size)
            stream.seek(2 * size // 3)
            stream.write(os.urandom(size // 3))
        return path

    def same_as_peer(self, *words: str) -> None:
        ours, peer = (run(program, *words, folder=self.folder) for program in (IMG, "qemu-img"))
        self.assertEqual(ours.returncode, peer.returncode, ours.stderr)
        if "--output=json" in words:
            left, right = (comparable(json.loads(text.stdout)) for text in (ours, peer))
            self.assertEqual(left, right)
        else:
            self.assertEqual(ours.stdout.split("Child node")[0], peer.stdout.split("Child node")[0])
        self.assertEqual(ours.stderr.replace("ashlar-img", "qemu-img"), peer.stderr)

    def round_trip(self, uri: str, source: Path, *more: str) -> None:
        """Writes `source` to the export with our tool, reads it back with both."""
        self.ok(IMG, "convert", "-n", *more, "-f", "raw", "-O", "raw", source, uri)
        for program, name in ((IMG, "back.ours"), ("qemu-img", "back.peer")):
            self.ok(program, "convert", "-f", "raw", "-O", "raw", uri, name)
            self.ok("cmp", source, name)


@need("nbdkit", "qemu-img")
class WithNbdkit(DriverTest):
    def test_copies_both_ways(self):
        source = self.pattern("source")
        for words in (["memory", "6M"], ["--filter=blocksize-policy", "memory", "6M",
                                         "blocksize-minimum=4096", "blocksize-maximum=65536",
                                         "blocksize-error-policy=error"],
                      ["--no-sr", "memory", "6M"], ["--filter=nozero", "memory", "6M"],
                      ["--filter=nofilter", "--filter=readahead", "memory", "6M"],
                      ["--filter=delay", "memory", "6M", "rdelay=5ms", "wdelay=5ms"],
                      ["--mask-handshake=0", "memory", "6M"]):
            with self.subTest(words), Nbdkit(self.folder, *words) as server:
                if "--mask-handshake=0" in words:  # the peer refuses this age
                    self.ok(IMG, "convert", "-n", "-O", "raw", source, server.uri)
                    self.ok(IMG, "compare", "-f", "raw", "-F", "raw", source, server.uri)
                else:
                    self.round_trip(server.uri, source)

    def test_maps_and_informs_as_the_peer(self):
        source = self.pattern("source")
        with Nbdkit(self.folder, "file", str(source)) as server:
            for words in (["info"], ["info", "--output=json"], ["map", "--output=json"], ["map"]):
                self.same_as_peer(*words, "-f", "raw", server.uri)

    def test_tells_errors_of_the_server_and_goes_on(self):
        with Nbdkit(self.folder, "--filter=error", "memory", "1M", "error-pread=ENOSPC",
                    "error-pread-rate=100%") as server:
            for program in (IO, "qemu-io"):
                done = run(program, "-f", "raw", "-c", "read 0 4k", "-c", "write 0 4k", server.uri,
                           folder=self.folder)
                self.assertIn("read failed: No space left on device", done.stdout + done.stderr)
                self.assertIn("wrote 4096/4096", done.stdout)

    def test_the_size_is_the_servers(self):
        with Nbdkit(self.folder, "memory", "1M") as server:
            for size in ("2M", "512k", "1M"):
                self.same_as_peer("resize", "-f", "raw", "--shrink", server.uri, size)

    def test_a_read_only_export_is_not_written(self):
        with Nbdkit(self.folder, "-r", "memory", "1M") as server:
            self.same_as_peer("resize", "-f", "raw", server.uri, "2M")
            self.same_as_peer("info", server.uri)
            done = run(IO, "-f", "raw", "-c", "write 0 4k", server.uri, folder=self.folder)
            self.assertNotEqual(done.returncode, 0)

    def test_says_what_the_peer_says_of_what_cannot_be(self):
        with Nbdkit(self.folder, "-e", "disk", "memory", "1M") as server:
            for name in (f"nbd+unix:///other?socket={self.folder}/none", "nbd+unix:///x",
                         'json:{"driver":"nbd"}', 'json:{"driver":"nbd","server":{"type":"tcp"}}',
                         'json:{"driver":"nbd","path":"a","host":"b"}',
                         'json:{"driver":"nbd","server":{"type":"inet","host":"h"}}',
                         f'json:{{"driver":"nbd","path":"{server.socket}","bogus":1}}',
                         f'json:{{"driver":"nbd","path":"{server.socket}","tls-creds":"t"}}',
                         "nbd:localhost"):
                with self.subTest(name):
                    self.same_as_peer("info", name)


@need("nbdkit")
class WithAServerThatHangs(DriverTest):
    """It accepts connections, says the first words or nothing, and then waits for ever."""

    def test_opening_ends_in_time(self):
        for words in (b"", b"NBDMAGIC", b"NBDMAGICIHAVEOPT\0\1"):
            path = self.folder / f"silent{len(words)}"
            with socket.socket(socket.AF_UNIX) as silent:
                silent.bind(str(path))
                silent.listen(5)
                image = f"driver=nbd,path={path},handshake-timeout=1"
                start = time.monotonic()
                client = subprocess.Popen([IMG, "info", "--image-opts", image],
                                          stderr=subprocess.PIPE, text=True)
                connection, _ = silent.accept()
                with connection:
                    connection.sendall(words)
                    said = client.communicate(timeout=60)[1]
                self.assertEqual(client.returncode, 1)
                self.assertIn("did not finish the handshake within 1 s", said)
                self.assertGreaterEqual(time.monotonic() - start, 1)

    def test_an_answer_that_takes_its_time_is_no_hanging(self):
        with Nbdkit(self.folder, "--filter=delay", "memory", "1M", "delay-open=2") as server:
            self.ok(IMG, "info", "--image-opts",
                    f"driver=nbd,path={server.socket},handshake-timeout=20")
            self.ok(IMG, "info", server.uri)


@need("qemu-nbd", "qemu-img")
class WithThePeer(DriverTest):
    def serve(self, *words: str) -> Server:
        return Server(self.folder, "-t", "-e", "16", *words, program=PEER_SERVER)

    def test_copies_formats_both_ways(self):
        source = self.pattern("source")
        self.make("disk.qcow2", "6M")
        with self.serve("-f", "qcow2", "disk.qcow2") as server:
            self.round_trip(server.uri, source)
            self.same_as_peer("map", "--output=json", "-f", "raw", server.uri)
            self.same_as_peer("info", "--output=json", server.uri)
        self.ok("qemu-img", "check", "disk.qcow2")
        self.ok("qemu-img", "compare", "-f", "raw", "-F", "qcow2", source, "disk.qcow2")

    def test_holds_images_in_exports(self):
        source = self.pattern("source")
        (self.folder / "store").touch()
        os.truncate(self.folder / "store", 16 << 20)
        with self.serve("-f", "raw", "store") as server:
            self.ok(IMG, "create", "-q", "-f", "qcow2", server.uri, "6M")
            self.ok(IMG, "convert", "-n", "-O", "qcow2", source, server.uri)
            self.ok("qemu-img", "compare", "-F", "qcow2", "-f", "raw", source, server.uri)
            self.ok(IMG, "check", "-f", "qcow2", server.uri)
            self.same_as_peer("map", "--output=json", "-f", "qcow2", server.uri)

    def test_shows_a_dirty_bitmap_in_place_of_the_allocation(self):
        self.make("disk.qcow2", "4M")
        self.ok("qemu-img", "bitmap", "--add", "disk.qcow2", "b")
        self.ok("qemu-io", "-c", "write 1M 128k", "disk.qcow2")
        with self.serve("-f", "qcow2", "-B", "b", "disk.qcow2") as server:
            words = ["map", "--output=json", "--image-opts",
                     f"driver=nbd,path={server.socket},x-dirty-bitmap=qemu:dirty-bitmap:b"]
            ours, peer = (json.loads(self.ok(program, *words)) for program in (IMG, "qemu-img"))
            keys = ("start", "length", "data", "zero")
            self.assertEqual(*([[extent[key] for key in keys] for extent in extents]
                               for extents in (ours, peer)))

    def test_says_which_export_is_missing(self):
        self.make("disk.qcow2", "4M")
        with self.serve("-f", "qcow2", "-x", "disk", "disk.qcow2") as server:
            self.same_as_peer("info", server.uri_of("disc"))
            self.same_as_peer("info", server.uri_of("disk"))


@need("qemu-nbd", "qemu-img", "certtool")
class WithTls(DriverTest):
    def setUp(self) -> None:
        super().setUp()
        templates = {"ca": "cn = authority\nca\ncert_signing_key\n",
                     "server": "organization = Ashlar\ncn = localhost\ndns_name = localhost\n"
                               "tls_www_server\nencryption_key\nsigning_key\n",
                     "client": "organization = Ashlar\ncn = laptop\ntls_www_client\n"
                               "encryption_key\nsigning_key\n"}
        for name, text in templates.items():
            (self.folder / f"{name}.cfg").write_text(text)
            self.ok("certtool", "--generate-privkey", "--key-type=ecdsa", "--outfile",
                    f"{name}-key.pem")
            how = (["--generate-self-signed"] if name == "ca" else
                   ["--generate-certificate", "--load-ca-certificate", "ca-cert.pem",
                    "--load-ca-privkey", "ca-key.pem"])
            self.ok("certtool", *how, "--load-privkey", f"{name}-key.pem", "--template",
                    f"{name}.cfg", "--outfile", f"{name}-cert.pem")
        self.make("disk.qcow2", "6M")

    def serve(self, credentials: str, *words: str) -> Server:
        return Server(self.folder, "-t", "-e", "16", "--object",
                      f"{credentials},id=t,dir={self.folder},endpoint=server", "--tls-creds=t",
                      *words, "-f", "qcow2", "disk.qcow2", program=PEER_SERVER)

    def client(self, credentials: str, hostname: str = "localhost") -> list[str]:
        return ["--object", f"{credentials},id=t,dir={self.folder},endpoint=client", "--image-opts",
                f"driver=nbd,path={self.folder}/nbd.sock,tls-creds=t,tls-hostname={hostname}"]

    def test_certificates_open_the_way_both_ways(self):
        source = self.pattern("source")
        with self.serve("tls-creds-x509,verify-peer=on"):
            image = self.client("tls-creds-x509")
            self.ok(IMG, "convert", "-n", "--target-image-opts", "--object", image[1], "-O", "raw",
                    source, image[3])
            self.ok(IMG, "convert", *image, "-O", "raw", "back")
            self.ok("cmp", source, "back")

    def test_the_wrong_name_and_plain_text_are_refused(self):
        with self.serve("tls-creds-x509,verify-peer=off") as server:
            wrong = run(IMG, "info", *self.client("tls-creds-x509", "elsewhere"),
                        folder=self.folder)
            self.assertEqual(wrong.returncode, 1)
            self.assertIn("mismatch", wrong.stderr)
            plain = run(IMG, "info", server.uri, folder=self.folder)
            self.assertEqual(plain.returncode, 1)
            self.assertIn("TLS", plain.stderr)
        with Server(self.folder, "-t", "-f", "qcow2", "disk.qcow2", program=PEER_SERVER):
            refused = run(IMG, "info", *self.client("tls-creds-x509"), folder=self.folder)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("TLS", refused.stderr)

    def test_shared_keys_open_the_way(self):
        (self.folder / "keys.psk").write_text("qemu:00112233445566778899aabbccddeeff\n")
        with self.serve("tls-creds-psk"):
            self.ok(IMG, "info", *self.client("tls-creds-psk"))
            self.ok(IO, *self.client("tls-creds-psk")[:2], "--image-opts", "-c",
                    "write -P 7 0 1M", "-c", "read -P 7 0 1M", self.client("tls-creds-psk")[3])

    def test_anonymous_credentials_do_with_the_old_cipher(self):
        with self.serve("tls-creds-anon,priority=NORMAL:-VERS-TLS1.3"):
            self.ok(IMG, "info", *self.client("tls-creds-anon"))

    def test_uris_carry_their_own_credentials(self):
        with self.serve("tls-creds-x509,verify-peer=on"):
            self.ok(IMG, "info", f"nbds+unix://?socket={self.folder}/nbd.sock&"
                    f"tls-certificates={self.folder}&tls-hostname=localhost")


@need("qemu-img")
class WithOurOwnServer(DriverTest):
    def test_uses_the_newest_headers_both_ways(self):
        source = self.pattern("source")
        self.make("disk.qcow2", "6M")
        with Server(self.folder, "-t", "-e", "16", "-f", "qcow2", "disk.qcow2") as server:
            self.round_trip(server.uri, source)
            self.same_as_peer("map", "--output=json", "-f", "raw", server.uri)

    @need("nbdcopy")
    def test_passes_on_what_comes_from_several_loops(self):
        source = self.pattern("source", 48 << 20)
        self.make("disk.qcow2", "48M")
        (self.folder / "near").mkdir()
        with Server(self.folder, "-t", "-e", "16", "-f", "qcow2", "disk.qcow2") as far:
            image = f"driver=raw,file.driver=nbd,file.path={far.socket}"
            with Server(self.folder / "near", "-t", "-e", "8", "--image-opts", image) as near:
                self.ok("nbdcopy", "--connections=4", "--requests=32", source, near.uri)
                self.ok("nbdcopy", "--connections=4", "--requests=32", near.uri, "back")
        self.ok("cmp", source, "back")


if __name__ == "__main__":
    unittest.main()
