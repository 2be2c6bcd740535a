"""Mailboxes made, renamed, subscribed and deleted; a second IMAP client says what is true."""

from __future__ import annotations

import contextlib
import imaplib
import itertools
import re
from collections.abc import Iterator
from http.client import IncompleteRead
from typing import Any
from urllib.parse import unquote

import pytest
import seed
from conftest import StartGateway, tls_options
from gateway import Gateway
from http_client import Client, Response
from imap_server import ImapServer
from mail_tools import good, new_mailbox, refused, second_client, segment

NUMBERS = itertools.count(1)


@pytest.fixture
def name(mail_server: ImapServer) -> str:
    """One that no other test has."""
    return mail_server.mailbox(f"Written {next(NUMBERS)}")


@pytest.fixture
def tree(mail_server: ImapServer, name: str) -> ImapServer:
    """For a test of mailboxes below others."""
    if not mail_server.has_children:
        with other_client(mail_server) as client:
            seed.create(client, name)
            assert client.create(seed.quoted(mail_server.below(name, "a")))[0] == "NO"
        pytest.skip(f"{mail_server.title} has no mailboxes below others")
    return mail_server


@contextlib.contextmanager
def other_client(server: ImapServer) -> Iterator[imaplib.IMAP4]:
    with seed.session(server.imap_port, "alice", "secret") as client:
        yield client


def listed(server: ImapServer, pattern: str, command: str = "list") -> set[str]:
    """The names as the server has them, in modified UTF-7."""
    with other_client(server) as client:
        status, lines = getattr(client, command)('""', seed.quoted(pattern))
        assert status == "OK"
        rows = [line for line in lines if isinstance(line, bytes)]
        return {re.sub(rb'^\([^)]*\) (?:"[^"]*"|NIL) ', b"", row).strip(b'"').decode() for row in rows}


def listed_rows(server: ImapServer) -> bytes:
    """All that LIST says, literals too."""
    with other_client(server) as client:
        lines = client.list('""', '"*"')[1]
        return b"\n".join(part for line in lines for part in (line if isinstance(line, tuple) else (line,)) if part)


def post(client: Client, **body: Any) -> Response:
    return client.request("POST", "/mailboxes", json_body=body)


def address(name: str) -> str:
    return f"/mailboxes/{segment(name)}"


def created(response: Response) -> dict[str, Any]:
    assert response.status == 201, f"{response.status} {response.body!r}"
    mailbox: dict[str, Any] = response.json()
    assert response.header("Location") == mailbox["href"]
    assert unquote(mailbox["href"]) == f"/mailboxes/{mailbox['name']}" and mailbox["href"].count("/") == 2
    return mailbox


def test_create(alice: Client, mail_server: ImapServer, name: str) -> None:
    response = post(alice, name=name, role=None, isSubscribed=True)
    mailbox = created(response)
    assert listed(mail_server, name) == {name} == listed(mail_server, name, "lsub")
    assert mailbox["isSubscribed"] is True and mailbox["totalEmails"] == 0 and mailbox["uidValidity"] > 0
    again = alice.get(address(name))
    if mail_server.settles_late:
        assert good(again) | {"uidValidity": 0} == mailbox | {"uidValidity": 0}
    else:
        assert good(again) == mailbox and again.header("ETag") == response.header("ETag")
    refused(post(alice, name=name), 409)


@pytest.mark.parametrize("subscribed", [None, False])
def test_create_unsubscribed(alice: Client, mail_server: ImapServer, name: str, subscribed: bool | None) -> None:
    """A name that was subscribed once is so again when it is made anew, unless it is not to be."""
    with other_client(mail_server) as client:
        client.create(seed.quoted(name))
        client.subscribe(seed.quoted(name))
        client.delete(seed.quoted(name))
    mailbox = created(post(alice, name=name, **({} if subscribed is None else {"isSubscribed": subscribed})))
    assert mailbox["isSubscribed"] is (name in listed(mail_server, name, "lsub"))
    assert mailbox["isSubscribed"] is (subscribed is None)


@pytest.mark.parametrize("leaf", ["Résumés", "100 % & more", '"quoted" \\ back', "@sent", "日本語", "a*b", "NIL", "{5}"])
def test_names(alice: Client, mail_server: ImapServer, name: str, leaf: str) -> None:
    """Any characters, and a missing mailbox above is made; what the server does not take is refused as such."""
    if leaf == "{5}" and mail_server.reads_braces_in == "strings":
        pytest.skip("imap4d takes these for a literal's length, between quotes too, and waits for it")
    wanted = [mail_server.mailbox(leaf + name.removeprefix(mail_server.prefix))]
    if mail_server.has_children:
        wanted.append(mail_server.below(name, leaf))
    for full in wanted:
        response = post(alice, name=full)
        if any(character in full for character in mail_server.refused_in_names):
            refused(response, 409)
            assert listed(mail_server, f"{name}*") == set()
            continue
        assert created(response)["name"] == full
        assert good(alice.get(address(full)))["name"] == full
        assert seed.quoted(full)[1:-1].encode() in listed_rows(mail_server) or mail_server.title == "Mailutils"  # which escapes nothing
        assert alice.delete(address(full)).status == 204
        refused(alice.get(address(full)), 404)


@pytest.mark.parametrize("bad", ["", "a//b", "/a", "a/", "a\r\nA9 LOGOUT", "a\u0000b", "a\u0085", "x" * 1025, None, 7])
def test_bad_names(alice: Client, mail_server: ImapServer, bad: object) -> None:
    before = listed(mail_server, "*")
    has_empty_level = bad in ("a//b", "/a", "a/")
    if has_empty_level:
        bad = str(bad).replace("/", mail_server.delimiter)
    if has_empty_level and not mail_server.has_children:  # and no delimiter is told
        assert post(alice, name=bad).status in (201, 409)
        return
    refused(post(alice, name=bad), 400)
    refused(alice.patch(address("INBOX"), {"name": bad}), 400) if not has_empty_level else None
    assert listed(mail_server, "*") == before


def test_bad_bodies(alice: Client, mail_server: ImapServer, name: str) -> None:
    refused(post(alice), 400, "name")
    refused(post(alice, name=name, role="postmaster"), 400, "role")
    refused(post(alice, name=name, isSubscribed="yes"), 400, "isSubscribed")
    refused(post(alice, name=name, colour="red"), 400, "colour")
    # Cyrus gives a role to one mailbox only, and says so itself.
    refused(post(alice, name=name, role="trash"), 422, "role" if not mail_server.can("CREATE-SPECIAL-USE") else "conflict")
    refused(alice.patch(address(name), {"role": None}), 400, "role")
    refused(alice.request("POST", "/mailboxes", b"[]", {"Content-Type": "application/json"}), 400)
    refused(alice.get(address(name)), 404)


def test_inbox(alice: Client, mail_server: ImapServer, name: str) -> None:
    for target in ("INBOX", "inbox", "@inbox"):
        refused(alice.delete(f"/mailboxes/{target}"), 409)
        refused(alice.patch(f"/mailboxes/{target}", {"name": name}), 409)
    refused(post(alice, name="Inbox"), 409)
    assert good(alice.patch("/mailboxes/inbox", {"name": "INBOX"}))["name"] == "INBOX"
    assert listed(mail_server, name) == set() and listed(mail_server, "INBOX") == {"INBOX"}


def test_rename(alice: Client, mail_server: ImapServer, name: str) -> None:
    """Children, messages and the mailbox's own subscription follow."""
    above, below = mail_server.mailbox(f"Renamed {next(NUMBERS)}"), mail_server.below
    children = [("a",), ("a", "b")] if mail_server.has_children else []
    with other_client(mail_server) as client:
        for one in (name, *(below(name, *child) for child in children), f"{name}x"):
            client.create(seed.quoted(one))
            seed.append(client, one, [seed.plain(1)])
        client.subscribe(seed.quoted(name))
    new = below(above, "new") if mail_server.has_children else above
    response = alice.patch(address(name), {"name": new})
    mailbox = good(response)
    assert mailbox["name"] == new and mailbox["isSubscribed"] is True and mailbox["totalEmails"] == 1
    assert response.header("Content-Location") == mailbox["href"] == address(new)
    assert listed(mail_server, f"{name}*") == {f"{name}x"}
    assert listed(mail_server, f"{new}*") == {new, *(below(new, *child) for child in children)}
    assert listed(mail_server, f"{name}*", "lsub") == set() and listed(mail_server, f"{new}*", "lsub") == {new}
    assert good(alice.get(f"{address(new)}/messages/1"))["uid"] == 1
    assert good(alice.get(address(new))) == mailbox
    refused(alice.get(address(name)), 404)
    refused(alice.patch(address(name), {"name": mail_server.mailbox("Elsewhere")}), 404)


def test_rename_refused(alice: Client, mail_server: ImapServer, name: str) -> None:
    for one in (name, f"{name} b"):
        created(post(alice, name=one))
    refused(alice.patch(address(name), {"name": f"{name} b"}), 409)
    refused(alice.patch(address(name), {"name": mail_server.below(name, "", "x")}), 400)
    assert good(alice.patch(address(name), {"name": name}))["name"] == name
    assert listed(mail_server, f"{name}*") == {name, f"{name} b"}
    under = mail_server.below(name, "under", "itself")
    response = alice.patch(address(name), {"name": under})
    if response.status == 200:  # Cyrus does it
        assert {under, f"{name} b"} <= listed(mail_server, f"{name}*")
    else:
        refused(response, 409)
        assert listed(mail_server, f"{name}*") == {name, f"{name} b"}


def test_subscribe(alice: Client, mail_server: ImapServer, name: str) -> None:
    created(post(alice, name=name))
    for wanted in (True, True, False, False):
        assert good(alice.patch(address(name), {"isSubscribed": wanted}))["isSubscribed"] is wanted
        assert (name in listed(mail_server, name, "lsub")) is wanted
        assert good(alice.patch(address(name), {}))["isSubscribed"] is wanted
    both = good(alice.patch(address(name), {"name": f"{name} b", "isSubscribed": True}, {"If-Match": "*"}))
    assert both["name"] == f"{name} b" and both["isSubscribed"] is True
    assert listed(mail_server, f"{name}*", "lsub") == {f"{name} b"}


def test_name_that_the_server_cannot_take(alice: Client, mail_server: ImapServer, name: str) -> None:
    """422 where the server says that it is the name, 409 where it only says no."""
    bad = mail_server.refused_name(name)
    response = post(alice, name=bad)
    status = 422 if response.json()["imap"]["code"] == "CANNOT" else 409
    refused(response, status)
    created(post(alice, name=name))
    refused(alice.patch(address(name), {"name": bad}), status)
    assert listed(mail_server, name) == {name}


def test_delete(alice: Client, mail_server: ImapServer, name: str) -> None:
    created(post(alice, name=name))
    response = alice.delete(address(name))
    assert response.status == 204 and response.body == b""
    assert listed(mail_server, name) == set()
    # Mailutils says no without saying why.
    status = 409 if mail_server.title == "Mailutils" else 404
    refused(alice.delete(address(name)), status)
    refused(alice.delete(address(mail_server.mailbox("Nowhere"))), status)


def test_delete_with_children(alice: Client, tree: ImapServer, name: str) -> None:
    """Some servers keep the name, empty, and others refuse; the children are not touched."""
    child = tree.below(name, "a")
    with other_client(tree) as client:
        for one in (name, child):
            seed.create(client, one)
            seed.append(client, one, [seed.plain(1)])
    response = alice.delete(address(name))
    if response.status == 204:
        assert good(alice.get(address(name)))["isSelectable"] is False
        response = alice.delete(address(name))
        assert response.status in (404, 409), response.body
    else:
        refused(response, 409)
        assert good(alice.get(f"{address(name)}/messages"))["total"] == 1
    assert listed(tree, tree.below(name, "*")) == {child}
    assert good(alice.get(f"{address(child)}/messages"))["total"] == 1


def test_if_match(alice: Client, mail_server: ImapServer, name: str) -> None:
    created(post(alice, name=name))
    target = address(name)
    for query in ("", "?pretty=1"):
        seen = alice.get(target + query).header("ETag")
        assert seen is not None
        with other_client(mail_server) as client:
            seed.append(client, name, [seed.plain(1)])
        refused(alice.patch(target, {"name": f"{name} b"}, {"If-Match": seen}), 412)
        refused(alice.delete(target, {"If-Match": seen}), 412)
        assert listed(mail_server, name) == {name}
    seen = alice.get(f"{target}?pretty=1").header("ETag")
    assert seen is not None
    renamed = alice.patch(target, {"name": f"{name} b"}, {"If-Match": f'"other", {seen}'})
    assert good(renamed)["totalEmails"] == 2
    tag = renamed.header("ETag")
    assert tag is not None and alice.delete(address(f"{name} b"), {"If-Match": tag}).status == 204
    refused(alice.delete(address(f"{name} b"), {"If-Match": tag}), 404)


@pytest.mark.needs("one view")
@pytest.mark.parametrize("sessions", [1, 4])
def test_open_sessions(start_gateway: StartGateway, mail_server: ImapServer, sessions: int) -> None:
    """Sessions that had the mailbox open are not used for what has its name now."""
    name = new_mailbox(mail_server, [seed.plain(1), seed.plain(2)])
    gateway = start_gateway(*tls_options(mail_server), "--imap-sessions-per-account", str(sessions))
    client = gateway.client("alice", "secret")
    for turn in range(3):
        old, new = address(name), address(f"{name} {turn}")
        assert good(client.get(f"{old}/messages"))["total"] == 2
        first = good(client.get(old))["uidValidity"]
        assert good(client.patch(old, {"name": f"{name} {turn}"}))["totalEmails"] == 2
        refused(client.get(f"{old}/messages"), 404)
        assert good(client.get(f"{new}/messages"))["total"] == 2
        assert client.delete(new).status == 204
        refused(client.get(f"{new}/messages"), 404)
        assert created(post(client, name=name))["uidValidity"] != first
        assert good(client.get(f"{old}/messages"))["total"] == 0
        with other_client(mail_server) as other:
            seed.append(other, name, [seed.plain(3), seed.plain(4)])


@pytest.mark.needs("one view")
def test_changed_elsewhere(gateway: Gateway, alice: Client, mail_server: ImapServer, name: str) -> None:
    """Another client renames, deletes and makes what a session of the gateway has open."""
    with other_client(mail_server) as client:
        seed.create(client, name)
        seed.append(client, name, [seed.plain(1)])
        assert good(alice.get(f"{address(name)}/messages"))["total"] == 1
        client.delete(seed.quoted(name))
        refused(alice.get(f"{address(name)}/messages"), 404)
        seed.create(client, name)
        assert good(alice.get(f"{address(name)}/messages"))["total"] == 0
        client.rename(seed.quoted(name), seed.quoted(f"{name} b"))
        assert created(post(alice, name=name))["name"] == name
        assert good(alice.get(f"{address(name)}/messages"))["total"] == 0


def test_second_client_has_it_open(alice: Client, mail_server: ImapServer) -> None:
    name = new_mailbox(mail_server, [seed.plain(1)])
    with second_client(mail_server, name):
        assert good(alice.patch(address(name), {"name": f"{name} b"}))["totalEmails"] == 1
        assert alice.delete(address(f"{name} b")).status == 204
    assert listed(mail_server, f"{name}*") == set()


@pytest.mark.needs("speed")
@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_download_under_way(gateway: Gateway, alice: Client, mail_server: ImapServer, is_deleted: bool) -> None:
    """It ends whole, or visibly broken off, and its session serves nothing after it."""
    raw = seed.plain(1).raw + b"0123456789abcdef0123456789abcdef\r\n" * 200_000
    name = new_mailbox(mail_server, [seed.Message(raw)])
    reader = gateway.client("alice", "secret")
    stream = reader.open("GET", f"{address(name)}/messages/1/raw")
    assert stream.status == 200
    head = stream.read(1000)
    if is_deleted:
        # As for the rename below, Dovecot may end the session right behind it: then nobody can tell.
        response = alice.delete(address(name))
        assert response.status == 204 or refused(response, 502)["outcome"] == "unknown"
        assert not listed(mail_server, name)
        created(post(alice, name=name))
    else:
        # Dovecot may end the session that both share, right behind the rename: that much is told then.
        response = alice.patch(address(name), {"name": f"{name} b"})
        if response.status != 200:
            refused(response, 502, "the mailbox was renamed")
        assert listed(mail_server, f"{name} b") == {f"{name} b"}
    with contextlib.suppress(IncompleteRead):
        assert head + stream.read() == raw
    reader.close()
    if is_deleted:
        assert good(alice.get(f"{address(name)}/messages"))["total"] == 0
    else:
        refused(alice.get(f"{address(name)}/messages"), 404)
