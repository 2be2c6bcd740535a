"""docs/threat-model.md: what it names exists, and its list of defects is the one of tests/defects.

Checked are the words between backticks: files, `FILE: NAME` (the name stands in the file), tests as named.py reads them,
and `defect NAME`. The list stands between two comments, and is written by `tests/defects/defects --table`.
"""

from __future__ import annotations

import re
from pathlib import Path

import named

DOCUMENT = "docs/threat-model.md"
BEGIN, END = "<!-- defects: begin -->\n", "<!-- defects: end -->\n"
ROOMS = "base|imap|mail|api|gateway|tests|docs|scripts"
FILE = re.compile(rf"((?:{ROOMS})/[\w./-]+)(?:: (\w+))?")

Row = tuple[str, str, str, str]  # name, what, threat, test


def sections(text: str) -> list[str]:
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def table(rows: list[Row], order: list[str]) -> str:
    """In the order of the document's sections."""
    lines = ["| defect | without the protection | seen red |", "| --- | --- | --- |"]
    for threat in [*order, *sorted({row[2] for row in rows} - set(order))]:
        mine = [row for row in rows if row[2] == threat]
        if mine:
            lines.append(f"| **{threat}** | | |")
        lines += [f"| `{name}` | {what.replace('|', '&#124;')} | `{test}` |" for name, what, _, test in mine]
    return "\n".join(lines) + "\n"


def parts(text: str) -> tuple[str, str, str]:
    before, begin, rest = text.partition(BEGIN)
    middle, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{DOCUMENT}: the comments around the list of defects are missing")
    return before + begin, middle, end + after


def write_table(root: Path, rows: list[Row]) -> None:
    path = root / DOCUMENT
    text = path.read_text()
    before, _, after = parts(text)
    path.write_text(before + table(rows, sections(text)) + after)


def complaint(root: Path, code: str, defects: set[str]) -> str | None:
    if code.startswith("defect "):
        return None if code.removeprefix("defect ") in defects else "there is no such defect"
    if code.split(" ")[0] in named.KINDS and ": " in code:
        try:
            named.parse(code).check(root)
        except named.NoSuchTest as error:
            return str(error)
        return None
    match = FILE.fullmatch(code)
    if not match:
        return None
    path = root / match[1]
    if not path.exists():
        return "there is no such file"
    if match[2] and not (path.is_file() and re.search(rf"\b{match[2]}\b", path.read_text())):
        return f"{match[1]} has no {match[2]}"
    return None


def check(root: Path, rows: list[Row]) -> list[str]:
    text = (root / DOCUMENT).read_text()
    before, middle, after = parts(text)
    names, known = {row[0] for row in rows}, sections(text)
    complaints = [
        f"{DOCUMENT}: `{code}`: {why}"
        for code in sorted(set(re.findall(r"`([^`\n]+)`", before + after)))
        if (why := complaint(root, code, names))
    ]
    complaints += [f"{name}.patch: no row of {DOCUMENT} names it" for name in sorted(names) if f"`defect {name}`" not in before]
    complaints += [f"{name}.patch: {DOCUMENT} has no section '{threat}'" for name, _, threat, _ in rows if threat not in known]
    if middle != table(rows, known):
        complaints.append(f"{DOCUMENT}: its list of defects is out of date: tests/defects/defects --table writes it")
    return complaints
