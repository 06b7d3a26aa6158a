"""An NBD client (libnbd) that stays connected while a test does something else."""
import functools
import json
import subprocess
import sys

#: Carries out one JSON line after the other: [verb, arguments...] -> [true, result] or [false, errno].
SERVE = r"""
import json, sys, threading, nbd
h = nbd.NBD()
torn = []
def hammer(size, seconds):
    import time
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = h.pread(size, 0)
        count += 1
        if data.count(data[0:1]) != size: torn.append(count)
    return [count, len(torn)]
def fill(size, seconds):
    import time
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        h.pwrite(bytes([count % 255 + 1]) * size, 0)
        count += 1
    return count
verbs = {
    "connect": lambda uri: (h.set_uri_allow_local_file(True), h.connect_uri(uri))[1],
    "size": lambda: h.get_size(),
    "read": lambda n, at: h.pread(n, at).hex(),
    "write": lambda byte, n, at: h.pwrite(bytes([byte]) * n, at),
    "flush": lambda: h.flush(),
    "hammer": hammer,
    "fill": fill,
    "bye": lambda: h.shutdown(),
}
for line in sys.stdin:
    verb, *args = json.loads(line)
    try:
        print(json.dumps([True, verbs[verb](*args)]), flush=True)
    except nbd.Error as error:
        print(json.dumps([False, error.errno]), flush=True)
"""


@functools.cache
def interpreter():
    """A Python that has libnbd's module, or None."""
    for python in (sys.executable, "/usr/bin/python3"):
        found = subprocess.run([python, "-c", "import nbd"], capture_output=True, check=False)
        if found.returncode == 0:
            return python
    return None


class NbdClient:
    def __init__(self, uri):
        self.process = subprocess.Popen([interpreter(), "-c", SERVE], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        done, why = self("connect", uri)
        if not done:
            self.close()
            raise OSError(why)

    def begin(self, verb, *arguments):
        self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self.process.stdin.flush()

    def finish(self):
        """(whether it succeeded, result or errno name)."""
        return tuple(json.loads(self.process.stdout.readline()))

    def __call__(self, verb, *arguments):
        self.begin(verb, *arguments)
        return self.finish()

    def byte(self, at=0):
        """The byte there, or the name of the error."""
        done, data = self("read", 1, at)
        return int(data, 16) if done else data

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
