"""A private Cyrus, from its unpacked packages."""

from __future__ import annotations

import os
import subprocess

from imap_server import ImapServer, package_version, unpacked, with_unpacked_libraries

ROLES = ("Drafts", "Sent", "Trash", "Junk", "Archive")


class Cyrus(ImapServer):
    title = "Cyrus"
    refused_in_names = '%"\\{};'
    subscribes_inbox = True
    refuses_odd_messages = True
    reads_braces_in = "patterns"

    def __init__(self, users: dict[str, str], **more: object) -> None:
        super().__init__(users, **more)  # type: ignore[arg-type]
        self.own("conf", "conf/db", "conf/socket", "conf/proc", "conf/log", "spool", "tmp", "sieve", "run")
        self.own("run/socket", "run/lock", "run/proc")
        # The server reads its certificate's key after it has become somebody else.
        os.chown(self.certificate.key, self.account.uid, self.account.gid)
        self.write_users()

    def version_text(self) -> str:
        return package_version("cyrus-imapd")

    def refused_name(self, mailbox: str) -> str:
        return f"{mailbox} %"

    def raw_text(self, text: str) -> str:
        return "".join(one if one.isascii() else "X" * len(one.encode()) for one in text)

    def environment(self) -> dict[str, str]:
        return with_unpacked_libraries() | {"CYRUS_VERBOSE": "1"}

    def write_users(self) -> None:
        for user, password in self.users.items():
            subprocess.run(
                [str(unpacked("usr/sbin/saslpasswd2")), "-p", "-c", "-f", str(self.root / "sasldb2"), "-u", "localhost", user],
                input=password.encode(),
                env=self.environment(),
                check=True,
                capture_output=True,
            )
        os.chown(self.root / "sasldb2", self.account.uid, self.account.gid)

    def commands(self) -> list[list[str]]:
        root = self.root
        return [
            [str(unpacked("usr/lib/cyrus/bin/master")), "-C", f"{root}/imapd.conf", "-M", f"{root}/cyrus.conf", "-p", f"{root}/run/master.pid"]
        ]

    def write_config(self) -> None:
        root, mailboxes = self.root, "|".join(ROLES)
        settings = {
            "servername": "localhost",
            "cyrus_user": self.account.name,
            "configdirectory": f"{root}/conf",
            "partition-default": f"{root}/spool",
            "defaultpartition": "default",
            "sievedir": f"{root}/sieve",
            "admins": "admin",
            "virtdomains": "off",
            "unixhierarchysep": "yes",
            "altnamespace": "yes",
            "allowplaintext": "yes",
            "sasl_pwcheck_method": "auxprop",
            "sasl_auxprop_plugin": "sasldb",
            "sasl_sasldb_path": f"{root}/sasldb2",
            "sasl_mech_list": "PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256",
            "tls_server_cert": str(self.certificate.chain),
            "tls_server_key": str(self.certificate.key),
            "tls_client_ca_file": str(self.ca_file),
            "tls_sessions_db_path": f"{root}/run/tls_sessions.db",
            "lmtpsocket": f"{root}/run/socket/lmtp",
            "idlesocket": f"{root}/run/socket/idle",
            "notifysocket": f"{root}/run/socket/notify",
            "mboxname_lockpath": f"{root}/run/lock",
            "proc_path": f"{root}/run/proc",
            "temp_path": f"{root}/tmp",
            "autocreate_quota": "1048576",  # KiB
            "autocreate_inbox_folders": mailboxes,
            "autocreate_subscribe_folders": mailboxes,
            **{f"xlist-{name}": name for name in ROLES},
            "specialusealways": "1",
            "conversations": "yes",
            "conversations_db": "twoskip",
            # Copies of one message; ten in a mailbox are all, else.
            "conversations_max_guidinfolder": "10000",
            "conversations_max_guidexists": "10000",
            "search_engine": "none",
            "failedloginpause": "0",
            "skiplist_unsafe": "yes",
        }
        (root / "imapd.conf").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        programs = unpacked("usr/lib/cyrus/bin")
        conf = f"-C {root}/imapd.conf"
        (root / "cyrus.conf").write_text(
            f"""START {{
  recover cmd="{programs}/ctl_cyrusdb {conf} -r"
  idled cmd="{programs}/idled {conf}"
}}
SERVICES {{
  imap cmd="{programs}/imapd {conf} -U 30" listen="{self.host}:{self.imap_port}" prefork=1
  imaps cmd="{programs}/imapd {conf} -s -U 30" listen="{self.host}:{self.imaps_port}" prefork=0
}}
EVENTS {{
  checkpoint cmd="{programs}/ctl_cyrusdb {conf} -c" period=30
}}
"""
        )
