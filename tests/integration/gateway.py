"""The program under test: starts it on a port of its choice, and sees that it ends cleanly.

with Gateway(binary, ["--imap-url", dovecot.imaps_url, "--imap-ca-file", str(dovecot.ca_file)]) as gateway:
    gateway.client("alice", "secret").get("/mailboxes").json()
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from types import TracebackType

from http_client import Client

START_SECONDS = 30.0
STOP_SECONDS = 40.0  # a drain takes 30 at most
LISTENING = re.compile(r"listening on https?://(\S+):(\d+)")
SANITIZER = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:")


class GatewayError(AssertionError):
    pass


class Gateway:
    def __init__(self, binary: Path, options: list[str], environment: dict[str, str] | None = None) -> None:
        self.binary = binary
        self.options = options
        self.environment = environment or {}
        self.host = ""
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._lines: list[str] = []
        self._reader: threading.Thread | None = None
        self._is_known = threading.Event()  # it listens, or has ended

    def start(self) -> Gateway:
        options = self.options if "--listen" in self.options else ["--listen", "127.0.0.1:0", *self.options]
        self._process = subprocess.Popen(
            [str(self.binary), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=gateway_environment() | attached_by_tests() | self.environment,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._is_known.wait(START_SECONDS) or self.port == 0:
            self.kill()
            raise GatewayError(f"{self.binary} did not start:\n{self.log}")
        return self

    def client(self, user: str | None = None, password: str = "") -> Client:
        return Client(self.host, self.port, user, password)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return "".join(self._lines)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def rss_kib(self) -> int:
        return self._status("VmRSS")

    @property
    def peak_rss_kib(self) -> int:
        """Since the start or the last reset_peak()."""
        return self._status("VmHWM")

    def reset_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def n_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def has_sanitizer(self) -> bool:
        """Memory figures of such a binary mean nothing."""
        return b"__asan_init" in self.binary.read_bytes()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit status, once it has ended by itself or by signal()."""
        assert self._process is not None and self._reader is not None
        status = self._process.wait(seconds)
        self._reader.join(STOP_SECONDS)
        return status

    def stop(self) -> None:
        """Drains; fails unless the exit is 0 and no sanitizer had anything to say."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            status = self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise GatewayError(f"still there {STOP_SECONDS:g} s after SIGTERM:\n{self.log}") from None
        self._process = None
        if status != 0:
            raise GatewayError(f"exit status {status}:\n{self.log}")
        if SANITIZER.search(self.log):
            raise GatewayError(f"sanitizer report:\n{self.log}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Gateway:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.stop()
            return
        try:
            self.stop()
        except GatewayError as trouble:
            # The test's own failure comes first, with this beside it.
            print(trouble)

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(rf"{name}:\s+(\d+) kB", text)
        assert match is not None
        return int(match[1])

    def _read_log(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.append(line)
            match = LISTENING.search(line)
            if match is not None and self.port == 0:
                self.host, self.port = match[1].strip("[]"), int(match[2])
                self._is_known.set()
        self._is_known.set()


def attached_by_tests() -> dict[str, str]:
    """Tests look into /proc of the program, which its sandbox leaves to root."""
    return {} if os.geteuid() == 0 else {"GATEPOST_SANDBOX": "off"}


def gateway_environment() -> dict[str, str]:
    """This process's environment without the user's own GATEPOST_ settings, with strict sanitizers."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEPOST_")}
    environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1")
    environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    return environment
