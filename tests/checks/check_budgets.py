#!/usr/bin/env python3
"""Holds files, functions, parameter lists, test cases and driver interfaces to their budgets."""
import re

from sources import code_files, code_only, finish, functions, read

SOURCE_LINES = 800
PUBLIC_HEADER_LINES = 400
FUNCTION_LINES = 70
TEST_LINES = 60
PARAMETERS = 5
PURE_VIRTUALS = 12

CLASS = re.compile(r"\bclass\s+(?:\[\[\w+\]\]\s*)?(\w+)[^;{()]*\{")


def too_many_pure_virtuals(text: str) -> list[str]:
    """Classes of a public header that ask more of whoever derives from them than allowed."""
    found = []
    code = code_only(text)
    starts = [(match.start(), match.group(1)) for match in CLASS.finditer(code)]
    for (start, name), (end, _) in zip(starts, starts[1:] + [(len(code), "")]):
        count = len(re.findall(r"\)[^;{}]*=\s*0\s*;", code[start:end]))
        if count > PURE_VIRTUALS:
            found.append(f"class {name} has {count} pure virtual functions, "
                         f"at most {PURE_VIRTUALS}")
    return found


def problems_of(path, text):
    public = path.parts[0] == "include"
    limit = PUBLIC_HEADER_LINES if public else SOURCE_LINES
    lines = text.count("\n")
    if lines > limit:
        yield f"{path}: {lines} lines, at most {limit}"
    for function in functions(text):
        where = f"{path}:{function.line}: {function.name}"
        allowed = TEST_LINES if function.is_test else FUNCTION_LINES
        if function.lines > allowed:
            yield f"{where}: {function.lines} lines, at most {allowed}"
        if function.parameters > PARAMETERS:
            yield f"{where}: {function.parameters} parameters, at most {PARAMETERS}"
    if public:
        yield from (f"{path}: {problem}" for problem in too_many_pure_virtuals(text))


finish("budgets", [problem for path in code_files() for problem in problems_of(path, read(path))])
