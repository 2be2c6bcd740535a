"""Dovecot's configuration, in the syntax of 2.3 and of 2.4."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dovecot import Dovecot

ROLES = ("Drafts", "Sent", "Trash", "Junk", "Archive")


def write_config(server: Dovecot) -> None:
    if server.version >= (2, 4):
        text = _dovecot_24(server)
    else:
        text = _dovecot_23(server)
    server.config_file.write_text(text + server.options.extra + "\n")


def _common(server: Dovecot) -> str:
    options = server.options
    root = server.root
    text = f"""
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log/dovecot.log
instance_name = gatepost-{server.imap_port}
protocols = imap
listen = {server.host}
first_valid_uid = 1
first_valid_gid = 1
shutdown_clients = yes
ssl = yes
auth_mechanisms = {options.auth_mechanisms}
auth_failure_delay = 0
mail_uid = {server.account.uid}
mail_gid = {server.account.gid}
mail_fsync = never
mail_max_userip_connections = {options.max_userip_connections}
mailbox_list_index = yes
"""
    if options.debug:
        text += "auth_debug = yes\nmail_debug = yes\n"
    if options.capability is not None:
        text += f"imap_capability = {options.capability}\n"
    if options.rawlog:
        text += f"protocol imap {{\n  rawlog_dir = {root}/rawlog/{'%{user}' if server.version >= (2, 4) else '%u'}\n}}\n"
    return text


def _namespace() -> str:
    mailboxes = "".join(
        f"  mailbox {name} {{\n    auto = subscribe\n    special_use = \\{name}\n  }}\n" for name in ROLES
    )
    return f"namespace inbox {{\n  inbox = yes\n  separator = /\n{mailboxes}}}\n"


def _services(server: Dovecot) -> str:
    """Ports, and what has to differ when Dovecot may not change its user or root directory."""
    no_chroot = ""
    text = ""
    if os.geteuid() != 0:
        no_chroot = "  chroot =\n"
        text += (
            "service imap-urlauth-login {\n  chroot =\n}\n"
            "service indexer-worker {\n  user = $default_internal_user\n}\n"
        ).replace("$default_internal_user", server.account.name)
    penalty = "  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n"
    text += f"service anvil {{\n{no_chroot}{penalty}}}\n"
    text += (
        f"service imap-login {{\n{no_chroot}"
        f"  inet_listener imap {{\n    port = {server.imap_port}\n  }}\n"
        f"  inet_listener imaps {{\n    port = {server.imaps_port}\n    ssl = yes\n  }}\n}}\n"
    )
    return text


def _internal_users(server: Dovecot) -> str:
    if os.geteuid() == 0:
        return ""
    import grp

    group = grp.getgrgid(server.account.gid).gr_name
    return (
        f"default_internal_user = {server.account.name}\n"
        f"default_internal_group = {group}\n"
        f"default_login_user = {server.account.name}\n"
    )


def _dovecot_23(server: Dovecot) -> str:
    options = server.options
    return (
        _common(server)
        + _internal_users(server)
        + f"""
ssl_cert = <{server.certificate.chain}
ssl_key = <{server.certificate.key}
disable_plaintext_auth = {"no" if options.allow_cleartext else "yes"}
passdb {{
  driver = passwd-file
  args = username_format=%u {server.root}/passwd
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {server.root}/passwd
}}
mail_location = {options.mail_format}:~/mail
mail_home = {server.root}/mail/%u
"""
        + _namespace()
        + _services(server)
    )


def _dovecot_24(server: Dovecot) -> str:
    options = server.options
    return (
        "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
        + _common(server)
        + _internal_users(server)
        + f"""
ssl_server_cert_file = {server.certificate.chain}
ssl_server_key_file = {server.certificate.key}
auth_allow_cleartext = {"yes" if options.allow_cleartext else "no"}
mail_driver = {options.mail_format}
mail_path = ~/mail
mail_home = {server.root}/mail/%{{user}}
passdb passwd-file {{
  passwd_file_path = {server.root}/passwd
}}
userdb passwd-file {{
  passwd_file_path = {server.root}/passwd
}}
"""
        + _namespace()
        + _services(server)
    )
