"""A storage daemon under test, and clients of its monitors over plain sockets."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

BIN = Path(os.environ.get("ASHLAR_BIN_DIR", "build/debug/bin")).absolute()
DAEMON = str(BIN / "ashlar-storage-daemon")
IMG = str(BIN / "ashlar-img")
IO = str(BIN / "ashlar-io")
TIMEOUT = 20


class Qmp:
    """One client of a monitor."""

    def __init__(self, path, negotiate=True, capabilities=()):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.pending = b""
        self.events = []
        self.greeting = self.read()
        if negotiate:
            assert self("qmp_capabilities", enable=list(capabilities)) == {}

    def read(self):
        while b"\r\n" not in self.pending:
            piece = self.socket.recv(65536)
            if not piece:
                return None
            self.pending += piece
        line, _, self.pending = self.pending.partition(b"\r\n")
        return json.loads(line)

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def reply(self):
        """The next answer; events before it are kept."""
        while True:
            message = self.read()
            if message is None or "event" not in message:
                return message
            self.events.append(message)

    def execute(self, command, arguments):
        self.send(json.dumps({"execute": command, "arguments": arguments}))
        return self.reply()

    def __call__(self, command, /, **arguments):
        """The result, or the text of the error."""
        reply = self.execute(command, {k.replace("_", "-"): v for k, v in arguments.items()})
        return reply["return"] if "return" in reply else reply["error"]["desc"]

    def event(self, name):
        """The next event of that name."""
        while True:
            for at, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(at).get("data")
            self.events.append(self.read())
            assert self.events[-1] is not None, f"the monitor ended before {name}"

    def close(self):
        self.socket.close()


class DaemonCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="daemon-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.process = None

    def path(self, name):
        return str(self.folder / name)

    def image(self, name, size="1M", fmt="raw", pattern=None):
        subprocess.run([IMG, "create", "-q", "-f", fmt, self.path(name), size], check=True)
        if pattern is not None:
            subprocess.run([IO, "-f", fmt, "-c", f"write -q -P {pattern} 0 {size}",
                            self.path(name)], check=True)
        return self.path(name)

    def start(self, *options, monitors=1):
        argv = [DAEMON]
        for number in range(monitors):
            argv += ["--chardev", f"socket,id=m{number},path={self.path(f'qmp{number}')},"
                     "server=on,wait=off", "--monitor", f"chardev=m{number}"]
        self.process = subprocess.Popen([*argv, *options], cwd=self.folder,
                                        stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        clients = [Qmp(self.path(f"qmp{number}")) for number in range(monitors)]
        for client in clients:
            self.addCleanup(client.close)
        return clients[0] if monitors == 1 else clients

    def stop(self):
        """Ends the daemon; (status, what it complained about)."""
        process, self.process = self.process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            _, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return process.returncode, errors

    def add_raw(self, qmp, name, filename, **more):
        node = {"driver": "raw", "node-name": name,
                "file": {"driver": "file", "filename": filename}, **more}
        reply = qmp.execute("blockdev-add", node)
        self.assertEqual(reply, {"return": {}})
