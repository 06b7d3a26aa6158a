#!/usr/bin/env python3
"""Holds the documentation to the code: every driver has a page that names its options and is in the
index, and links between pages lead somewhere."""
import re
from pathlib import Path

from sources import ROOT, finish, read

INDEX = Path("docs/formats/README.md")
OPTION = re.compile(r'\b(?:number_|choice_)?option\(\s*"([^"]+)"')
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def driver_folders():
    for kind in ("drivers", "formats", "filters"):
        for folder in sorted((ROOT / "src" / kind).glob("*/")):
            if any(folder.glob("**/*.cc")):
                yield folder.relative_to(ROOT)


def driver_problems(folder: Path):
    page = folder / f"{folder.name}.md"
    if not (ROOT / page).is_file():
        yield f"{page}: missing"
        return
    if f"](../../{page.as_posix()})" not in read(INDEX):
        yield f"{INDEX}: does not link {page}"
    text = read(page)
    for source in sorted((ROOT / folder).rglob("*.cc")) + sorted((ROOT / folder).rglob("*.h")):
        if source.name.endswith("_test.cc"):
            continue
        for name in OPTION.findall(read(source.relative_to(ROOT))):
            if f"`{name}`" not in text:
                yield f"{page}: option `{name}` is not described"


def link_problems():
    for page in sorted(ROOT.rglob("*.md")):
        relative = page.relative_to(ROOT)
        if relative.parts[0] == "build":
            continue
        for target in LINK.findall(read(relative)):
            if "://" not in target and not (page.parent / target).exists():
                yield f"{relative}: link to {target} leads nowhere"


problems = [problem for folder in driver_folders() for problem in driver_problems(folder)]
finish("docs", problems + list(link_problems()))
