"""What goes wrong between the program and the system: tests/tools/misfortune.c, preloaded and told what to do.

    with Misfortune(binary, tmp_path) as misfortune:
        gateway = start_gateway(…, environment=misfortune.environment)
        misfortune.clock_offset(3600)
        misfortune.fail("read", 7, errno.ECONNRESET)     # the 7th from now on
        misfortune.n_struck
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

import pytest
from gateway import gateway_environment

CALLS = {"none": 0, "read": 1, "write": 2, "connect": 3, "socket": 4, "accept": 5}
LAYOUT = struct.Struct("@qIiIIIIII")
OFFSETS = {
    name: (8 + 4 * i, "i" if name == "resolve_error" else "I")
    for i, name in enumerate(("resolve_ms", "resolve_error", "call", "n", "lasting", "error", "count", "struck"))
} | {"clock": (0, "q")}


def find_library(binary: Path) -> Path:
    """Beside the binary's own build, or in the one with sanitizers, which has the tests."""
    root = Path(__file__).resolve().parents[2]
    for build in (binary.parent, root / "build" / "asan"):
        if (build / "tests" / "misfortune.so").exists():
            return build / "tests" / "misfortune.so"
    pytest.skip("misfortune.so is not built")


class Misfortune:
    def __init__(self, binary: Path, directory: Path) -> None:
        self._path = directory / "misfortune"
        self._path.write_bytes(bytes(LAYOUT.size))
        self._library = find_library(binary)
        descriptor = os.open(self._path, os.O_RDWR)
        self._map = mmap.mmap(descriptor, LAYOUT.size)
        os.close(descriptor)

    @property
    def environment(self) -> dict[str, str]:
        sanitizer = gateway_environment()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
        return {"LD_PRELOAD": str(self._library), "MISFORTUNE": str(self._path), "ASAN_OPTIONS": sanitizer}

    def clock_offset(self, seconds: int) -> None:
        self._set("clock", seconds)

    def resolving(self, *, ms: int = 0, error: int = 0) -> None:
        self._set("resolve_ms", ms)
        self._set("resolve_error", error)

    def fail(self, call: str, n: int, error: int, *, is_lasting: bool = False) -> None:
        """n 0: they are only counted."""
        self.rest()
        self._set("n", n)
        self._set("lasting", int(is_lasting))
        self._set("error", error)
        self._set("count", 0)
        self._set("struck", 0)
        self._set("call", CALLS[call])

    def rest(self) -> None:
        """Calls succeed again; what was counted stays."""
        self._set("call", 0)

    @property
    def n_counted(self) -> int:
        return self._get("count")

    @property
    def n_struck(self) -> int:
        return self._get("struck")

    def __enter__(self) -> Misfortune:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()

    def _set(self, name: str, value: int) -> None:
        offset, kind = OFFSETS[name]
        struct.pack_into("@" + kind, self._map, offset, value)

    def _get(self, name: str) -> int:
        offset, kind = OFFSETS[name]
        return int(struct.unpack_from("@" + kind, self._map, offset)[0])
