#!/usr/bin/env python3
"""Holds #include lines to the order of the layers, and system headers to where they belong."""
import re

from sources import ROOT, code_files, finish, read

# A folder may include what has its own number or a smaller one.
LAYER = {"base": 0, "async": 1, "options": 2, "protocols": 2, "graph": 3, "backend": 4, "request": 4,
         "drivers": 5, "formats": 5, "filters": 5, "jobs": 6, "exports": 6, "monitor": 7,
         "builtin": 8, "version": 0}
BESIDE_THE_LAYERS = ("tools", "testing", "tests", "bench")

OS_HEADER = re.compile(r"sys/|linux/|net/|netinet/|arpa/|asm/|(fcntl|unistd|poll|liburing|netdb|"
                       r"dirent|pthread|signal|sched|spawn|termios|dlfcn|mntent|pwd|grp)\.h$")
OS_FOLDERS = ("src/async/", "src/drivers/", "tools/", "tests/")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)


def layer_of(file: str) -> int | None:
    """The layer of a path below src/, or None for what is in no layer."""
    return LAYER.get(re.split(r"[/.]", file)[0].removesuffix("_test"))


def resolve(included: str) -> str | None:
    """Where a quoted include is in the tree; includes are written from a root folder."""
    for root in ("src", "include"):
        if (ROOT / root / included).is_file():
            return f"{root}/{included}"
    beside = included.split("/")[0] in BESIDE_THE_LAYERS
    return included if beside and (ROOT / included).is_file() else None


def quoted_problem(path: str, included: str) -> str | None:
    target = resolve(included)
    if target is None:
        return "no such file in src/, include/, testing/ or tools/"
    if path.startswith("include/") and not target.startswith("include/"):
        return "a public header may include only public headers"
    if path.startswith("src/exports/") and included.split("/")[-1] in ("node.h", "driver.h"):
        return "an export knows backends only"
    if not path.startswith("src/"):
        return None
    is_test = path.endswith("_test.cc")
    if target.startswith(BESIDE_THE_LAYERS):
        return None if is_test and target.startswith("testing/") else "the library may not use this"
    own, other = layer_of(path.removeprefix("src/")), layer_of(target.removeprefix("src/"))
    if own is None:
        return f"{path.split('/')[1]} has no place in the layers"
    if target.startswith("src/") and other is not None and other > own and not is_test:
        return "this is a layer above"
    return None


def problems_of(path: str, text: str):
    for match in INCLUDE.finditer(text):
        kind, included = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if kind == '"':
            problem = quoted_problem(path, included)
        else:
            outside = not path.startswith(OS_FOLDERS) and not path.endswith("_test.cc")
            problem = ("system headers belong in src/async, src/drivers and tools"
                       if outside and OS_HEADER.match(included) else None)
        if problem:
            yield f"{path}:{line}: {included}: {problem}"


finish("includes", [problem for path in code_files()
                    for problem in problems_of(path.as_posix(), read(path))])
