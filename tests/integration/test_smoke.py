"""The fixtures themselves: the server, its logs and its TLS, and the demo mailbox as IMAP shows it."""

from __future__ import annotations

import email
import imaplib
import ssl

import pytest
import seed
from conftest import StartGateway, tls_options
from dovecot import Dovecot, Options
from imap_server import ImapServer


def test_login_and_counting(own_dovecot: Dovecot) -> None:
    assert own_dovecot.logins("alice") == 0
    with seed.session(own_dovecot.imap_port, "alice", "secret") as client:
        seed.append(client, "INBOX", [seed.plain(1), seed.plain(2)])
        assert client.select("INBOX", readonly=True) == ("OK", [b"2"])
        assert own_dovecot.n_sessions("alice") == 1
    own_dovecot.wait_for_log("Logged out")
    assert own_dovecot.logins("alice") == 1
    with pytest.raises(imaplib.IMAP4.error), seed.session(own_dovecot.imap_port, "alice", "wrong"):
        pass
    assert own_dovecot.logins("alice") == 1


def test_tls_is_verified(dovecot: Dovecot) -> None:
    trusting = ssl.create_default_context(cafile=str(dovecot.ca_file))
    for host in ("localhost", "127.0.0.1"):
        with imaplib.IMAP4_SSL(host, dovecot.imaps_port, ssl_context=trusting, timeout=10) as client:
            assert client.login("alice", "secret")[0] == "OK"
    with imaplib.IMAP4(dovecot.host, dovecot.imap_port, timeout=10) as client:
        assert client.starttls(trusting)[0] == "OK"
    with pytest.raises(ssl.SSLCertVerificationError):
        imaplib.IMAP4_SSL(dovecot.host, dovecot.imaps_port, ssl_context=ssl.create_default_context(), timeout=10)


def test_certificates_for_refusal(dovecot: Dovecot) -> None:
    context = ssl.create_default_context(cafile=str(dovecot.ca_file))
    for certificate, reason in (
        (dovecot.authority.issue(expired=True), "expired"),
        (dovecot.authority.issue(("DNS:elsewhere.test",)), "doesn't match|not valid for|mismatch"),
    ):
        with Dovecot(users={"alice": "secret"}, options=Options(certificate=certificate)) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match=reason):
                imaplib.IMAP4_SSL("127.0.0.1", server.imaps_port, ssl_context=context, timeout=10)


def test_options() -> None:
    options = Options(capability="IMAP4rev1 LITERAL+ UIDPLUS", rawlog=True, max_userip_connections=2)
    with Dovecot(users={"alice": "secret"}, options=options) as server:
        with seed.session(server.imap_port, "alice", "secret") as first:
            assert first.capability()[1][0].decode() == "IMAP4rev1 LITERAL+ UIDPLUS"
            with seed.session(server.imap_port, "alice", "secret") as second:
                assert second.noop()[0] == "OK"
                with pytest.raises(imaplib.IMAP4.error, match="LIMIT|Maximum number"):
                    with seed.session(server.imap_port, "alice", "secret"):
                        pass
        server.wait_for_log("Logged out(.|\n)*Logged out")
        assert b" CAPABILITY\r\n" in server.rawlog("alice")


def test_cleartext_can_be_refused() -> None:
    with Dovecot(users={"alice": "secret"}, options=Options(allow_cleartext=False)) as server:
        with imaplib.IMAP4(server.host, server.imap_port, timeout=10) as client:
            assert "LOGINDISABLED" in client.capabilities
            client.starttls(ssl.create_default_context(cafile=str(server.ca_file)))
            assert client.login("alice", "secret")[0] == "OK"


def test_silence_crash_and_return(own_dovecot: Dovecot) -> None:
    with imaplib.IMAP4(own_dovecot.host, own_dovecot.imap_port, timeout=10) as client:
        client.login("alice", "secret")
        port = own_dovecot.imap_port
        own_dovecot.freeze()
        client.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.noop()
        own_dovecot.thaw()
    own_dovecot.kill()
    with pytest.raises(ConnectionRefusedError):
        imaplib.IMAP4(own_dovecot.host, port, timeout=10)
    own_dovecot.start()
    with seed.session(own_dovecot.imap_port, "alice", "secret") as client:
        assert client.noop()[0] == "OK"


def test_many_messages(own_dovecot: Dovecot) -> None:
    n_sent = seed.append_many(own_dovecot.imap_port, "bob", "pass word ü", "INBOX", map(seed.plain, range(1200)))
    assert n_sent == 1200
    with seed.session(own_dovecot.imap_port, "alice", "secret") as client:
        assert client.select("INBOX") == ("OK", [b"0"])
    status = own_dovecot.doveadm("mailbox", "status", "-u", "bob", "messages", "INBOX")
    assert b"messages=1200" in status


def test_demo_mailbox(demo_mailbox: ImapServer) -> None:
    with seed.session(demo_mailbox.imap_port, "demo", "demo") as client:
        listed = b"".join(client.list('""', '"*"')[1]).decode().lower()
        for name in ("Work/2024", "Résumés", "日本語", "Drafts", "Sent", "Trash", "Junk", "Archive", "INBOX"):
            assert seed.quoted(demo_mailbox.mailbox(name)).strip('"').lower() in listed
        for role in ("drafts", "sent", "trash", "junk", "archive"):
            assert f"\\{role}" in listed or not demo_mailbox.can("SPECIAL-USE")
        client.select("INBOX", readonly=True)
        raw = client.uid("FETCH", "7", "(FLAGS BODY.PEEK[])")[1][0]
        assert b"\\Seen" not in raw[0]
        invoice = email.message_from_bytes(raw[1]).get_payload()[1]
        assert invoice.get_filename() == "invoice-2024-117.pdf"
        assert invoice.get_payload(decode=True).startswith(b"%PDF-")
        unseen = client.uid("SEARCH", "UNSEEN")[1][0].split()
        assert len(unseen) > 5 and b"7" in unseen


def test_gateway_starts_answers_and_drains(start_gateway: StartGateway, dovecot: Dovecot) -> None:
    gateway = start_gateway(*tls_options(dovecot))
    client = gateway.client()
    assert client.get("/healthz").status == 200
    assert gateway.rss_kib > 0 and gateway.n_descriptors > 2
    raw = client.exchange(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200 ")
    gateway.stop()
    assert not gateway.is_running
