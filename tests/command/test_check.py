#!/usr/bin/env python3
"""`adit check` on every row of the table: all ways to a derivative agree with extended precision.

usage: test_check.py path/to/adit path/to/source      (or the environment variables ADIT, ADIT_SOURCE)
"""
import json
import os
import re
import subprocess
import sys

ADIT = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ADIT", "build/adit")
SOURCE = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("ADIT_SOURCE", ".")
ARITY = {"UNARY": 1, "UNARY_ATTRIBUTE": 1, "BINARY": 2, "TERNARY": 3}
# Relative to 1 + |derivative|. Differences are as good as they can be; the others are exact but for rounding.
TOLERANCE = {"two-point": 1e-3, "five-point": 1e-6, "symbolic": 1e-11, "forward": 1e-12, "reverse": 1e-12}


def rows():
    """Name, attribute (None if it has none) and sampling ranges of every row."""
    with open(os.path.join(SOURCE, "src/primitives/elementwise.def"), encoding="utf-8") as file:
        text = file.read()
    for kind, rest in re.findall(r"^(UNARY|UNARY_ATTRIBUTE|BINARY|TERNARY)\((.*)", text, re.M):
        fields = [field.strip() for field in rest.split(",")]
        name, numbers = fields[0], fields[3:]
        attribute = numbers.pop(0) if kind == "UNARY_ATTRIBUTE" else None
        yield name, attribute, [(float(numbers[2*k]), float(numbers[2*k + 1])) for k in range(ARITY[kind])]


def check(formula, values):
    command = [ADIT, "check", formula, *[f"{name}={value!r}" for name, value in values.items()], "--json"]
    r = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if r.returncode:
        return [f"{formula} at {values}: {r.stderr}"]
    failures = []
    for row in json.loads(r.stdout)["check"]:
        for name, tolerance in TOLERANCE.items():
            error = row["methods"][name]["error"]
            if not isinstance(error, (int, float)) or not error <= tolerance*(1 + abs(row["reference"])):
                failures.append(f"{formula} at {values}: {name} by {row['variable']}: {row}")
        if not row["extended"]:
            failures.append(f"{formula}: the reference is in double")
    return failures


def main():
    failures, count = [], 0
    for name, attribute, ranges in rows():
        for fraction in (0.23, 0.61):
            names = ["x", "y", "w"][:len(ranges)]
            values = {n: lo + (hi - lo)*(fraction + 0.013*k) for k, (n, (lo, hi)) in enumerate(zip(names, ranges))}
            call = f"{name}({attribute + ', ' if attribute else ''}{', '.join(names)})"
            failures += check(f"sqrt(2 + ({call})^2)*x", values)
            count += 1
    for failure in failures:
        print(failure)
    print(f"{count} checks, {len(failures)} failures")
    return 1 if failures or count < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
