#!/usr/bin/env python3
"""Refuses the forms of `co_await` that GCC 12 translates wrongly without a word.

A `co_await` in the condition of if, while, do, for or switch: in a coroutine that declares no
variable the whole body is dropped. src/async/compiler_traps_test.cc holds the forms that work."""
import re

from sources import code_files, code_only, finish, read

STATEMENT = re.compile(r"\b(if|while|for|switch)\s*(?:constexpr\s*)?\(")
DECLARATION = re.compile(r"^\s*(?:const\s+)?[\w:<>, ]+[&*\s]\s*\w+\s*=[^=]")


def parts_of(code: str, opening: int) -> list[str]:
    """What stands between the brackets, split at its own semicolons."""
    depth, start, parts = 0, opening + 1, []
    for at in range(opening, len(code)):
        if code[at] in "([{":
            depth += 1
        elif code[at] in ")]}":
            depth -= 1
            if depth == 0:
                return parts + [code[start:at]]
        elif code[at] == ";" and depth == 1:
            parts.append(code[start:at])
            start = at + 1
    return parts


def problems_of(path, text):
    code = code_only(text)
    for match in STATEMENT.finditer(code):
        parts = parts_of(code, match.end() - 1)
        if match.group(1) == "for":
            conditions = parts[1:] if len(parts) == 3 else []
        else:
            conditions = parts[-1:]
        for condition in conditions:
            if "co_await" in condition and not DECLARATION.match(condition):
                line = code.count("\n", 0, match.start()) + 1
                yield (f"{path}:{line}: co_await in the condition of {match.group(1)}: "
                       "name the value first")


finish("coroutines", [problem for path in code_files() for problem in problems_of(path, read(path))])
