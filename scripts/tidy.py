#!/usr/bin/env python3
"""Runs clang-tidy over every source of a build folder's compile_commands.json, tests excepted.

A file that was clean is remembered, by the content of the file and of all project headers it
includes, so that only what changed is looked at again.

usage: tidy.py BUILD_FOLDER [FILE...]     FILE: only these
"""
import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIDY = "clang-tidy-19"
INCLUDE_ROOTS = [ROOT / "src", ROOT / "include", ROOT]
INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def sources(build: Path) -> list[Path]:
    commands = json.loads((build / "compile_commands.json").read_text())
    files = {Path(command["directory"], command["file"]).resolve() for command in commands}
    return sorted(file for file in files if not file.name.endswith("_test.cc"))


def with_headers(file: Path, seen: set[Path]) -> set[Path]:
    """`file` and the project headers it includes, directly or not."""
    if file in seen:
        return seen
    seen.add(file)
    for name in INCLUDE.findall(file.read_bytes()):
        for root in INCLUDE_ROOTS:
            if (root / name.decode()).is_file():
                with_headers(root / name.decode(), seen)
                break
    return seen


def fingerprint(file: Path, version: bytes) -> str:
    digest = hashlib.sha256(version + (ROOT / ".clang-tidy").read_bytes())
    for part in sorted(with_headers(file, set())):
        digest.update(part.relative_to(ROOT).as_posix().encode() + b"\0" + part.read_bytes())
    return digest.hexdigest()


def main() -> int:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build = Path(sys.argv[1])
    chosen = {Path(name).resolve() for name in sys.argv[2:]}
    version = subprocess.run([TIDY, "--version"], stdout=subprocess.PIPE, check=True).stdout
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ashlar-tidy"
    cache.mkdir(parents=True, exist_ok=True)

    def look_at(file: Path) -> bool:
        clean = cache / fingerprint(file, version)
        if clean.exists():
            return True
        done = subprocess.run([TIDY, "-quiet", "-p", build, file], text=True, cwd=ROOT,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode == 0:
            clean.touch()
            return True
        print(done.stdout or done.stderr, flush=True)
        return False

    files = [file for file in sources(build) if not chosen or file in chosen]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        bad = sum(not good for good in pool.map(look_at, files))
    print(f"clang-tidy: {len(files)} files, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
