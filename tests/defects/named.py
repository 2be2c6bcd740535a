"""Tests by their names: whether there is such a test, how it is run, and whether it, and no other, failed.

    wire session: a wrong password is never served from a warm session
    unit imap/test_tls: test_certificates
    integration test_hostile_http.py: test_smuggling[both lengths]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 300
# What ./test exports, for who runs this by hand.
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}


class NoSuchTest(Exception):
    pass


@dataclass(frozen=True)
class Outcome:
    state: str  # passed, failed, or what else became of it
    output: str


def run(
    command: list[str], tree: Path, environment: dict[str, str], until: re.Pattern[str] | None = None
) -> tuple[int | None, str]:
    """Exit status (None: it did not end in time) and what was said; no more is waited for than a line like `until`."""
    said: list[str] = []
    with subprocess.Popen(
        command,
        cwd=tree,
        env={**SANITIZERS, **os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        deadline = threading.Timer(TIMEOUT_S, process.kill)
        deadline.start()
        for line in process.stdout or ():
            said.append(line)
            if until and until.match(line):
                process.kill()
        is_late = not deadline.is_alive()
        deadline.cancel()
    return None if is_late else process.returncode, "".join(said)


@dataclass(frozen=True)
class Test:
    file: str
    case: str

    kind = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.file}: {self.case}"

    def source(self) -> str:
        raise NotImplementedError

    def is_in(self, text: str) -> bool:
        raise NotImplementedError

    def target(self) -> str:
        """What has to be built."""
        raise NotImplementedError

    def run(self, tree: Path, build: Path) -> Outcome:
        raise NotImplementedError

    def check(self, tree: Path) -> None:
        path = tree / self.source()
        if not path.is_file():
            raise NoSuchTest(f"{self}: there is no {self.source()}")
        if not self.is_in(path.read_text()):
            raise NoSuchTest(f"{self}: {self.source()} has no such case")


class WireTest(Test):
    kind = "wire"

    def source(self) -> str:
        return f"tests/wire/{self.file}.wire"

    def is_in(self, text: str) -> bool:
        return f"\ncase {self.case}\n" in "\n" + text

    def target(self) -> str:
        return "wire_run"

    def run(self, tree: Path, build: Path) -> Outcome:
        command = [str(build / "tests/wire/wire_run"), "tests/wire/common.defs", self.source()]
        _, output = run(command, tree, {"WIRE_CASE": self.case})
        name = re.escape(self.case)
        if re.search(rf"^ok   {name}$", output, re.MULTILINE):
            return Outcome("passed", output)
        # A case that died fails too; its parent says so.
        return Outcome("failed" if re.search(rf"^FAIL {name} \(", output, re.MULTILINE) else "not run", output)


class UnitTest(Test):
    kind = "unit"

    def source(self) -> str:
        return f"tests/unit/{self.file}.c"

    def is_in(self, text: str) -> bool:
        return f"\nstatic void {self.case}(void **state)\n" in text

    def target(self) -> str:
        return self.file.replace("/", "_")

    def run(self, tree: Path, build: Path) -> Outcome:
        name = re.escape(self.case)
        verdict = re.compile(rf"\[       OK \] {name}$|\[  FAILED  \] {name}$")
        command = [str(build / "tests" / self.target())]
        status, output = run(command, tree, {"CMOCKA_MESSAGE_OUTPUT": "stdout"}, verdict)
        if re.search(rf"^\[       OK \] {name}$", output, re.MULTILINE):
            return Outcome("passed", output)
        if re.search(rf"^\[  FAILED  \] {name}$", output, re.MULTILINE):
            return Outcome("failed", output)
        # A sanitizer or abort() ends the program in the case that began last.
        begun = re.findall(r"^\[ RUN      \] (\S+)$", output, re.MULTILINE)
        has_died = status not in (0, None) and begun[-1:] == [self.case]
        return Outcome("failed" if has_died else "not run", output)


class IntegrationTest(Test):
    kind = "integration"

    def source(self) -> str:
        return f"tests/integration/{self.file}"

    def is_in(self, text: str) -> bool:
        return f"\ndef {self.case.partition('[')[0]}(" in text

    def target(self) -> str:
        return "gatepost"

    def run(self, tree: Path, build: Path) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
            command.append(f"{self.source()}::{self.case}")
            _, output = run(command, tree, {"GATEPOST_BIN": str(build / "gatepost")})
            cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
        # What fails may also leave something behind that its end complains of.
        if any(case.find("failure") is not None for case in cases):
            return Outcome("failed", output)
        is_run = cases and all(case.find("skipped") is None and case.find("error") is None for case in cases)
        return Outcome("passed" if is_run else "not run", output)


KINDS = {kind.kind: kind for kind in (WireTest, UnitTest, IntegrationTest)}
NAME = re.compile(rf"({'|'.join(KINDS)}) ([\w./]+): (.+)")


def parse(text: str) -> Test:
    match = NAME.fullmatch(text.strip())
    if not match:
        raise NoSuchTest(f"'{text.strip()}' names no test: it is 'wire FILE: CASE', 'unit ROOM/FILE: CASE' or 'integration FILE: CASE'")
    return KINDS[match[1]](match[2], match[3])
