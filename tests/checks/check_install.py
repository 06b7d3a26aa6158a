#!/usr/bin/env python3
"""Installs a build into an empty folder and uses it: tools, find_package, pkg-config."""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CONSUMER = Path(__file__).resolve().parent.parent / "install"
TOOLS = ["ashlar", "ashlar-img", "ashlar-io", "ashlar-nbd", "ashlar-storage-daemon"]


def run(*command: object, **kwargs) -> str:
    done = subprocess.run([str(word) for word in command], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)
    if done.returncode:
        sys.exit(f"check_install: {' '.join(map(str, command))}: exit {done.returncode}\n"
                 f"{done.stdout}")
    return done.stdout.strip()


def use_by_find_package(prefix: Path, scratch: Path, compiler: str) -> str:
    run("cmake", "-G", "Ninja", "-S", CONSUMER, "-B", scratch, f"-DCMAKE_PREFIX_PATH={prefix}",
        f"-DCMAKE_CXX_COMPILER={compiler}")
    run("cmake", "--build", scratch)
    return run(scratch / "consumer")


def use_by_pkg_config(prefix: Path, scratch: Path, compiler: str) -> str:
    folder = next(prefix.rglob("ashlar.pc")).parent
    environment = dict(os.environ, PKG_CONFIG_PATH=str(folder))
    flags = run("pkg-config", "--cflags", "--libs", "ashlar", env=environment).split()
    binary = scratch / "consumer_pc"
    run(compiler, "-std=c++23", CONSUMER / "consumer.cc", "-o", binary, *flags)
    return run(binary)


def main() -> int:
    if len(sys.argv) != 4:
        sys.exit("usage: check_install.py BUILD_FOLDER COMPILER VERSION")
    build, compiler, version = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="ashlar-install-") as folder:
        prefix, scratch = Path(folder) / "prefix", Path(folder) / "build"
        run("cmake", "--install", build, "--prefix", prefix)
        missing = [tool for tool in TOOLS if not (prefix / "bin" / tool).exists()]
        if missing:
            sys.exit(f"check_install: not installed: {', '.join(missing)}")
        for how in (use_by_find_package, use_by_pkg_config):
            got = how(prefix, scratch, compiler)
            if got != version:
                sys.exit(f"check_install: {how.__name__} printed {got!r}, not {version!r}")
    print("installed tools and library work")
    return 0


if __name__ == "__main__":
    sys.exit(main())
