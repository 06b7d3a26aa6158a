#!/usr/bin/env python3
"""Claims about the NBD server when things die: clients, the server itself, and floods of clients.

Short by default; ASHLAR_SOAK=1 does the rounds that a release is to survive."""
import os
import random
import resource
import signal
import socket
import subprocess
import time
import unittest

from nbd_server import OURS, NbdTest, Server, need, run

SOAK = bool(os.environ.get("ASHLAR_SOAK"))
ROUNDS = 200 if SOAK else 3
FLOOD = 10_000
SYSTEM_PYTHON = "/usr/bin/python3"  # libnbd's module is made for this one
LEAKS_ONLY = (0, 3)  # exit statuses of check

# Writes numbered blocks, and says which have been flushed.
WRITER = """
import nbd, random, sys
h = nbd.NBD()
h.connect_uri(sys.argv[2])
block = 65536
noise = random.Random(int(sys.argv[1]))
number = 0
while True:
    for _ in range(8):
        number += 1
        place = noise.randrange(h.get_size() // block)
        h.pwrite(number.to_bytes(8, "big") * (block // 8), place * block)
        print("wrote", place, number, flush=True)
    h.flush()
    print("flushed", number, flush=True)
"""


def has_libnbd() -> bool:
    try:
        return subprocess.run([SYSTEM_PYTHON, "-c", "import nbd"], timeout=60,
                              stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


@need("qemu-img", "nbdinfo")
@unittest.skipUnless(has_libnbd(), "libnbd's Python module is not installed")
class Kill(NbdTest):
    def write_until(self, server: Server, seed: int, seconds: float, victim: str) -> list[str]:
        client = subprocess.Popen(
            [SYSTEM_PYTHON, "-c", WRITER, str(seed), server.uri], cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        said = []
        while not said or not said[-1].startswith("flushed"):
            line = client.stdout.readline()
            self.assertTrue(line, "the writer does not write")
            said.append(line)
        time.sleep(seconds)
        if victim == "server":
            server.process.kill()
            server.process.wait()
        client.kill()
        with client:  # not communicate(): that misses what readline() has read ahead
            said.append(client.stdout.read())
        return "".join(said).splitlines()

    def flushed_blocks(self, said: list[str]) -> tuple[dict[int, int], dict[int, set[int]]]:
        """By place: what must be there, and what may be."""
        durable: dict[int, int] = {}
        newest: dict[int, int] = {}
        possible: dict[int, set[int]] = {}
        for line in said:
            words = line.split()
            if len(words) == 3 and words[0] == "wrote":
                newest[int(words[1])] = int(words[2])
                possible.setdefault(int(words[1]), set()).add(int(words[2]))
            elif len(words) == 2 and words[0] == "flushed":
                durable = dict(newest)
                possible = {place: {number} for place, number in newest.items()}
        return durable, possible

    def wait_for_locks(self) -> None:
        """A killed process is gone before the kernel has let go of all files of its rings."""
        deadline = time.monotonic() + 20
        while run("qemu-img", "check", "-f", "qcow2", "d.qcow2",
                  folder=self.folder).stderr.count("lock") and time.monotonic() < deadline:
            time.sleep(0.02)

    def check_image(self, said: list[str]) -> None:
        self.wait_for_locks()
        checked = run("qemu-img", "check", "-f", "qcow2", "d.qcow2", folder=self.folder)
        self.assertIn(checked.returncode, LEAKS_ONLY, checked.stdout + checked.stderr)
        self.ok("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "d.qcow2", "d.raw")
        durable, possible = self.flushed_blocks(said)
        with open(self.folder / "d.raw", "rb") as raw:
            for place, number in durable.items():
                raw.seek(place * 65536)
                found = int.from_bytes(raw.read(8), "big")
                # A write after the flush may be there too, also one that nobody has heard of.
                self.assertTrue(found in possible[place] or found > max(durable.values()),
                                f"block {place}: {found}, not {number}")

    def test_what_was_flushed_survives_the_death_of_the_server(self):
        for seed in range(ROUNDS):
            self.make("d.qcow2", "16M")
            with self.subTest(seed=seed):
                server = Server(self.folder, "-t", "-f", "qcow2", "d.qcow2")
                server.__enter__()
                try:
                    said = self.write_until(server, seed, random.Random(seed).random() / 4,
                                            "server")
                finally:
                    server.kill()
                    server.socket.unlink(missing_ok=True)
                self.check_image(said)

    def test_the_death_of_clients_harms_nobody(self):
        self.make("d.qcow2", "16M")
        with Server(self.folder, "-t", "-e", "4", "-f", "qcow2", "d.qcow2") as server:
            for seed in range(ROUNDS):
                self.write_until(server, seed, random.Random(seed).random() / 4, "client")
                self.assertEqual(self.ok("nbdinfo", "--size", server.uri), f"{16 << 20}\n")
        self.ok("qemu-img", "check", "-q", "d.qcow2")


@need("qemu-img", "nbdinfo")
class Flood(NbdTest):
    def connect_many(self, server: Server, count: int) -> list[socket.socket]:
        clients = []
        for _ in range(count):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            try:
                client.connect(str(server.socket))
            except BlockingIOError:  # the system's queue is full: refused
                client.close()
                continue
            clients.append(client)
        return clients

    def test_ten_thousand_connections_are_held_within_the_limit(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, FLOOD + 200), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.make("d.raw", "1M", "raw")
        with Server(self.folder, "-t", "-e", "16", "--handshake-limit=2", "-f", "raw",
                    "d.raw") as server:
            before = server.memory_kib()
            clients = self.connect_many(server, FLOOD)
            time.sleep(0.5)
            self.assertLess(server.memory_kib("VmHWM"), before + 4096)
            for client in clients:
                client.close()
            # The queue of connections that nobody has looked at may still be full.
            deadline = time.monotonic() + 20
            while (run("nbdinfo", "--size", server.uri, folder=self.folder).returncode != 0
                   and time.monotonic() < deadline):
                time.sleep(0.1)
            self.assertEqual(self.ok("nbdinfo", "--size", server.uri), "1048576\n")

    @unittest.skipIf(b"__asan_init" in (OURS / "ashlar-nbd").read_bytes(),
                     "a sanitizer's memory is not ours")
    def test_idle_connections_cost_little(self):
        self.make("d.raw", "1M", "raw")
        count = 500
        with Server(self.folder, "-t", "-e", "0", "--handshake-limit=0", "-f", "raw",
                    "d.raw") as server:
            self.ok("nbdinfo", "--size", server.uri)
            before = server.memory_kib()
            clients = []
            for _ in range(count):
                client = socket.socket(socket.AF_UNIX)
                client.connect(str(server.socket))
                client.settimeout(20)
                client.recv(18, socket.MSG_WAITALL)
                client.sendall(b"\0\0\0\3IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0\0")
                client.recv(20, socket.MSG_WAITALL)
                clients.append(client)
            self.assertLess((server.memory_kib() - before) / count, 16)
            for client in clients:
                client.close()


if __name__ == "__main__":
    unittest.main()
