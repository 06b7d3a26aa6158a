"""The project's source files, and the little of C++ that the checks need to understand."""
from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
CODE_FOLDERS = ["include", "src", "tools", "testing", "tests", "bench"]


def code_files() -> list[Path]:
    """All C++ files of the project, relative to its root."""
    return sorted(path.relative_to(ROOT) for folder in CODE_FOLDERS
                  for path in (ROOT / folder).rglob("*") if path.suffix in (".h", ".cc"))


@lru_cache(maxsize=None)
def read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def finish(check: str, problems: list[str]) -> None:
    """Prints what was found and ends the check."""
    for problem in problems:
        print(problem)
    print(f"{check}: {len(problems)} problems" if problems else f"{check}: in order")
    sys.exit(1 if problems else 0)


BLANKED = re.compile(r"""
    //[^\n]* | /\*.*?\*/
  | (?:u8|[uUL])?R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"
  | "(?:\\.|[^"\\\n])*"
  | (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'
""", re.VERBOSE | re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)


def _blank(match: re.Match) -> str:
    text = match.group(0)
    kept = '""' if text[-1] in "\"'" else ""  # a literal stays an operand
    return kept + "\n" * text.count("\n")


def code_only(text: str) -> str:
    """`text` without comments, literals and directives; lines keep their numbers."""
    without_literals = BLANKED.sub(_blank, text)
    return DIRECTIVE.sub(lambda directive: "\n" * directive.group().count("\n"), without_literals)


@dataclass
class Function:
    """A definition, or a declaration without a body (then it has no lines)."""
    name: str
    line: int
    lines: int
    parameters: int
    is_test: bool


SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern\s*\"\")\b")
NOT_A_NAME = {"if", "for", "while", "switch", "catch", "return", "sizeof", "alignas", "decltype",
              "noexcept", "requires", "static_assert", "operator", "explicit", "constexpr",
              "typedef", "using", "__attribute__", "co_await", "co_return", "assert"}
CALL = re.compile(r"([~\w]+|operator\s*\S+?)\s*\($")
TEST = re.compile(r"^\s*(TYPED_)?TEST(_F|_P)?\s*\(")


def _group_end(text: str, opening: int) -> int:
    """Where the bracket that opens at `opening` closes."""
    brackets = {"(": 1, "{": 1, ")": -1, "}": -1}
    depth = 0
    for at in range(opening, len(text)):
        depth += brackets.get(text[at], 0)
        if depth == 0:
            return at
    return len(text) - 1


def _parameter_list(head: str) -> tuple[str, str] | None:
    """The name and the parameter text of the function that `head` declares, if it does."""
    head = re.sub(r"operator\s*\(\s*\)", "operator_call", head)
    angle, at = 0, 0
    while at < len(head):
        char = head[at]
        if char == "<":
            angle += 1
        elif char == ">" and head[at - 1] != "-":
            angle = max(0, angle - 1)
        elif char == "=" and angle == 0 and "operator" not in head[:at]:
            return None  # a variable with a value
        elif char == "(":
            end = _group_end(head, at)
            name = CALL.search(head[:at + 1])
            if angle == 0 and name and name.group(1) not in NOT_A_NAME:
                return name.group(1), head[at + 1:end]
            at = end
        at += 1
    return None


def _count_parameters(text: str) -> int:
    if text.strip() in ("", "void"):
        return 0
    depth, commas = 0, 0
    for char in text:
        depth += {"(": 1, "{": 1, "[": 1, "<": 1, ")": -1, "}": -1, "]": -1, ">": -1}.get(char, 0)
        commas += char == "," and depth == 0
    return commas + 1


def _is_scope(head: str) -> bool:
    """Does a brace after `head` open a namespace, a type or the like, and not a function?"""
    without_template = re.sub(r"^\s*template\s*<.*?>\s*(?=class|struct|union|namespace)", "", head,
                              flags=re.DOTALL)
    return bool(re.match(r"\s*(inline\s+|typedef\s+|export\s+|static\s+|constexpr\s+|const\s+)*"
                         r"(namespace|class|struct|union|enum|extern\s*\"\")", without_template)
                and not _parameter_list(re.sub(r"alignas\s*\([^)]*\)", "", without_template)))


def functions(text: str) -> Iterator[Function]:
    """Every function that `text` defines or declares at namespace or class level."""
    code = code_only(text)
    at, start, parens = 0, 0, 0
    while at < len(code):
        char = code[at]
        parens += {"(": 1, ")": -1}.get(char, 0)
        if char == "{" and parens == 0:
            head = code[start:at]
            if _is_scope(head):
                start = at + 1
            else:
                end = _group_end(code, at)
                signature = _parameter_list(head)
                if signature:
                    first = start + len(head) - len(head.lstrip())
                    yield Function(signature[0], code.count("\n", 0, first) + 1,
                                   code.count("\n", first, end) + 1,
                                   _count_parameters(signature[1]), bool(TEST.match(head)))
                at, start = end, end + 1
        elif char in ";}" and parens == 0:
            signature = _parameter_list(code[start:at]) if char == ";" else None
            if signature:
                yield Function(signature[0], code.count("\n", 0, at) + 1, 0,
                               _count_parameters(signature[1]), False)
            start = at + 1
        elif char == ":" and parens == 0 and re.search(r"\b(public|private|protected)\s*$",
                                                       code[start:at]):
            start = at + 1
        at += 1
