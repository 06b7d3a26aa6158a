#!/usr/bin/env python3
"""Compiles every public header alone, with each given compiler.

What compiled once is remembered in STAMPS until a public header changes."""
import hashlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sources import ROOT, finish

FLAGS = ["-std=c++23", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", "include", "-x", "c++"]


def compile_alone(compiler: str, header: Path) -> str | None:
    name = header.relative_to(ROOT / "include").as_posix()
    # Twice, so that a missing include guard shows.
    source = f'#include "{name}"\n#include "{name}"\n'
    done = subprocess.run([compiler, *FLAGS, "-"], input=source, text=True, cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return f"{name} does not compile alone with {compiler}:\n{done.stdout}" if done.returncode \
        else None


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("usage: check_headers.py STAMPS COMPILER...")
    stamps = Path(sys.argv[1])
    compilers = [name for name in dict.fromkeys(sys.argv[2:]) if shutil.which(name)]
    headers = sorted((ROOT / "include").rglob("*.h"))
    digest = hashlib.sha256()
    for header in headers:
        digest.update(header.as_posix().encode() + header.read_bytes())
    stamp = stamps / hashlib.sha256(digest.digest() + repr(compilers).encode()).hexdigest()
    if stamp.exists():
        finish("headers", [])
    jobs = [(compiler, header) for compiler in compilers for header in headers]
    with ThreadPoolExecutor(max_workers=2) as pool:
        problems = [found for found in pool.map(lambda job: compile_alone(*job), jobs) if found]
    if not problems:
        stamps.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    finish("headers", problems)


if __name__ == "__main__":
    main()
