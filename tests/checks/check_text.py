#!/usr/bin/env python3
"""Refuses what does not belong in the tree: paths of one machine, unfinished work, files that do
not say what they are."""
import re

from sources import ROOT, code_files, finish, read

ALL_TEXT = {".md", ".txt", ".py", ".sh", ".cmake", ".json", ".in", ".h", ".cc", ""}
MACHINE_PATH = re.compile(r"(?<![\w.$}*-])/(work|home|root|tmp)/")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
STUB = re.compile(r"\b(not (yet )?implemented|unimplemented)\b", re.IGNORECASE)


def text_files():
    skipped = {".git", "build", ".cache", "corpus", "__pycache__"}
    for path in sorted(ROOT.rglob("*")):
        relative = path.relative_to(ROOT)
        if path.is_file() and path.suffix in ALL_TEXT and not skipped & set(relative.parts):
            yield relative


def problems():
    for path in text_files():
        for number, line in enumerate(read(path).splitlines(), 1):
            if MACHINE_PATH.search(line):
                yield f"{path}:{number}: path of one machine: {line.strip()}"
            if UNFINISHED.search(line):
                yield f"{path}:{number}: unfinished: {line.strip()}"
            if path.parts[0] in ("src", "include", "tools") and STUB.search(line):
                yield f"{path}:{number}: stub: {line.strip()}"
    for path in code_files():
        if not read(path).startswith("// "):
            yield f"{path}:1: the first line is no comment that says what the file is"


finish("text", list(problems()))
