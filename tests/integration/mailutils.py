"""A private GNU Mailutils imap4d, from its unpacked packages.

Its users are the system's, so nss_wrapper plays a system that has those of the test. Mail is in mbox files, as Debian
has it: in Maildirs its UIDs change from one session to the next.
"""

from __future__ import annotations

import os
import subprocess

from imap_server import UNPACKED, ImapServer, package_version, unpacked, with_unpacked_libraries

MAILBOXES = ("INBOX", "Drafts", "Sent", "Trash", "Junk", "Archive")


class Mailutils(ImapServer):
    title = "Mailutils"
    has_children = False
    shows_changes_late = True
    keeps_keywords = False
    is_slow_with_many = True
    is_slow_with_large = True
    settles_late = True
    has_nested_parts = False
    finds_last_uid = False
    is_frail = True
    reads_braces_in = "strings"
    subscribes_special = False
    own_fields = (b"X-IMAPbase", b"X-UID", b"Status")

    def __init__(self, users: dict[str, str], **more: object) -> None:
        super().__init__(users, **more)  # type: ignore[arg-type]
        os.chown(self.certificate.key, self.account.uid, self.account.gid)
        self.write_users()

    def version_text(self) -> str:
        return package_version("mailutils-imap4d")

    def refused_name(self, mailbox: str) -> str:
        return self.below("Sent", mailbox)

    def write_users(self) -> None:
        lines = [f"{self.account.name}:x:{self.account.uid}:{self.account.gid}::/nonexistent:/bin/false\n", "root:x:0:0::/root:/bin/sh\n"]
        for user, password in self.users.items():
            home = self.root / "mail" / user
            self.own(f"mail/{user}")
            for name in MAILBOXES:
                (home / name).touch()
                os.chown(home / name, self.account.uid, self.account.gid)
            secret = subprocess.run(
                ["openssl", "passwd", "-6", "-stdin"], input=password + "\n", text=True, capture_output=True, check=True
            ).stdout.strip()
            lines.append(f"{user}:{secret}:{self.account.uid}:{self.account.gid}::{home}:/bin/sh\n")
        new = self.root / "passwd.new"
        new.write_text("".join(lines))
        new.replace(self.root / "passwd")
        (self.root / "group").write_text(f"nogroup:x:{self.account.gid}:\nroot:x:0:\nmail:x:8:\n")

    def environment(self) -> dict[str, str]:
        wrapper = next((UNPACKED / "usr" / "lib").glob("*-linux-gnu/libnss_wrapper.so"))
        return with_unpacked_libraries() | {
            "LD_PRELOAD": str(wrapper),
            "NSS_WRAPPER_PASSWD": str(self.root / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.root / "group"),
        }

    def commands(self) -> list[list[str]]:
        return [[str(unpacked("usr/sbin/imap4d")), "--no-site-config", f"--config-file={self.root}/imap4d.conf"]]

    def write_config(self) -> None:
        root = self.root
        (root / "imap4d.conf").write_text(
            f"""mode daemon;
foreground yes;
max-children 200;
pidfile {root}/imap4d.pid;
login-disabled no;
logging {{
  syslog no;
}}
auth {{
  authentication "generic:system";
  authorization "system";
}}
mailbox {{
  mailbox-pattern "mbox:{root}/mail/${{user}}/INBOX";
  mailbox-type mbox;
}}
namespace personal {{
  prefix "" {{
    directory "${{home}}";
    delimiter "/";
    mailbox-type mbox;
  }}
}}
tcp-wrappers {{
  enable no;
}}
tls {{
  ssl-certificate-file {self.certificate.chain};
  ssl-key-file {self.certificate.key};
}}
server {self.host}:{self.imap_port} {{
  tls-mode ondemand;
}}
server {self.host}:{self.imaps_port} {{
  tls-mode connection;
}}
"""
        )
