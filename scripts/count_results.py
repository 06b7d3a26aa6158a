#!/usr/bin/env python3
"""Prints "PASSED FAILED" of one ctest run: every GoogleTest case counts, and every other test as one.

usage: count_results.py JUNIT_FILE_OF_CTEST FOLDER_OF_GTEST_XML_FILES
"""
import sys
from pathlib import Path
from xml.etree import ElementTree


def gtest_counts(file: Path) -> tuple[int, int]:
    """How many cases of one test binary passed and failed; skipped ones count as neither."""
    suites = ElementTree.parse(file).getroot()
    failed = int(suites.get("failures", 0)) + int(suites.get("errors", 0))
    cases = list(suites.iter("testcase"))
    ran = sum(case.get("result") == "completed" for case in cases)
    return ran - failed, failed


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    passed = failed = 0
    for test in ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
        details = Path(sys.argv[2]) / f"{test.get('name')}.xml"
        binary_ok = test.get("status") == "run"
        good, bad = gtest_counts(details) if details.exists() else (int(binary_ok), 0)
        if not binary_ok and bad == 0:
            bad = 1  # crashed, timed out or could not be started
        passed += good
        failed += bad
    print(passed, failed)


main()
