"""A certificate authority for tests and the demo: keys that last a month and trust nothing else."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

LOOPBACK_NAMES = ("DNS:localhost", "DNS:imap.test", "IP:127.0.0.1", "IP:127.0.0.2", "IP:::1")


@dataclass(frozen=True)
class ServerCertificate:
    chain: Path  # the server's certificate, then the CA's
    key: Path


class Authority:
    """One root, made in its own directory, that issues server certificates."""

    def __init__(self, directory: Path, name: str = "Gatepost test CA") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.certificate = directory / "ca.crt"
        self._key = directory / "ca.key"
        self._issued = 0
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "30",
            "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", str(self._key), "-out", str(self.certificate),
        )  # fmt: skip

    def issue(
        self,
        names: tuple[str, ...] = LOOPBACK_NAMES,
        *,
        expired: bool = False,
        common_name: str = "Gatepost test server",
        self_signed: bool = False,
    ) -> ServerCertificate:
        """names are subjectAltName entries such as DNS:localhost; none: there is no such extension."""
        self._issued += 1
        stem = self.directory / f"server{self._issued}"
        key, request, leaf = (stem.with_suffix(s) for s in (".key", ".csr", ".crt"))
        _openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
            "-subj", f"/CN={common_name}", *(("-addext", "subjectAltName=" + ",".join(names)) if names else ()),
            "-keyout", str(key), "-out", str(request),
        )  # fmt: skip
        if self_signed:
            _openssl("x509", "-req", "-in", str(request), "-key", str(key), "-copy_extensions", "copy", "-days", "30", "-out", str(leaf))
            return ServerCertificate(leaf, key)
        if expired:
            self._issue_expired(request, leaf)
        else:
            _openssl(
                "x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self._key),
                "-set_serial", str(self._issued), "-copy_extensions", "copy", "-days", "30", "-out", str(leaf),
            )  # fmt: skip
        chain = stem.with_name(stem.name + "-chain.crt")
        chain.write_bytes(leaf.read_bytes() + self.certificate.read_bytes())
        return ServerCertificate(chain, key)

    def _issue_expired(self, request: Path, leaf: Path) -> None:
        """By openssl ca: x509 cannot date a certificate back."""
        work = self.directory / f"ca{self._issued}"
        work.mkdir()
        (work / "index").touch()
        (work / "serial").write_text(f"{self._issued:02x}\n")
        config = work / "ca.cnf"
        config.write_text(
            "[ca]\ndefault_ca = it\n[it]\n"
            f"database = {work}/index\nserial = {work}/serial\nnew_certs_dir = {work}\n"
            f"certificate = {self.certificate}\nprivate_key = {self._key}\n"
            "default_md = sha256\npolicy = any\ncopy_extensions = copy\nunique_subject = no\n"
            "[any]\ncommonName = supplied\n"
        )
        _openssl(
            "ca", "-batch", "-config", str(config), "-in", str(request), "-out", str(leaf), "-notext",
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z",
        )  # fmt: skip


def _openssl(*arguments: str) -> None:
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed:\n{result.stderr}")
