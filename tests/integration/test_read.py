"""Mailboxes and single messages: names, roles, addresses, versions, and what reading leaves alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import pytest
import seed
from conftest import StartGateway, tls_options
from dovecot import Dovecot, Options
from gateway import Gateway
from http_client import Client
from imap_server import ImapServer
from mail_tools import expunge, flags_of, good, highest_modseq, new_mailbox, refused, second_client, segment, store, uids

DEMO_MAILBOXES = {"INBOX", "Drafts", "Sent", "Trash", "Junk", "Archive", "Work", "Work/2024", "Résumés", "日本語"}
ROLES = {"INBOX": "inbox", "Drafts": "drafts", "Sent": "sent", "Trash": "trash", "Junk": "junk", "Archive": "archive"}


# ---- mailboxes ----


def full_names(server: ImapServer, names: Iterable[str] = DEMO_MAILBOXES) -> set[str]:
    return set(map(server.mailbox, names))


def listed_as(server: ImapServer, mailbox: dict[str, Any]) -> dict[str, Any]:
    """As it is in the list: rights are only there when they cost no round trip for each."""
    if server.settles_late and mailbox["totalEmails"] == 0:
        mailbox = mailbox | {"uidValidity": None}
    return mailbox if server.can("LIST-MYRIGHTS") else mailbox | {"myRights": None}


def not_subscribed(server: ImapServer) -> set[str]:
    special = set() if server.subscribes_special else full_names(server, ROLES) - {"INBOX"}
    return special | (set() if server.subscribes_inbox else {"INBOX"})


def test_all_mailboxes(demo: Client, demo_mailbox: ImapServer) -> None:
    server = demo_mailbox
    mailboxes = {one["name"]: one for one in good(demo.get("/mailboxes"))["mailboxes"]}
    assert set(mailboxes) == full_names(server)
    assert {name: one["role"] for name, one in mailboxes.items() if one["role"]} == {server.mailbox(name): role for name, role in ROLES.items()}
    for name, one in mailboxes.items():
        by = "server" if server.can("SPECIAL-USE") or name == "INBOX" else "name"
        assert one["roleSource"] == (by if one["role"] else None)
        parent, _, leaf = name.rpartition(server.delimiter)
        assert (one["leafName"], one["parent"]) == (leaf, parent or None)
        assert one["delimiter"] == server.delimiter or (one["delimiter"] is None and not server.has_children)
        assert one["href"] == f"/mailboxes/{segment(name)}"
        is_above = (name == server.mailbox("Work") and server.has_children) or (name == "INBOX" and server.prefix != "")
        assert one["isSelectable"] is True and one["hasChildren"] is is_above
        assert one["isSubscribed"] is (name not in not_subscribed(server))
        assert listed_as(server, one) == listed_as(server, good(demo.get(one["href"]))), "the list and the mailbox differ"
        asked = ["MESSAGES", "UNSEEN", "UIDNEXT", "UIDVALIDITY"]
        asked += ["HIGHESTMODSEQ"] * server.can("CONDSTORE") + ["SIZE"] * server.can("STATUS=SIZE")
        with seed.session(server.imap_port, "demo", server.users["demo"]) as client:
            counts = client.status(seed.quoted(name), f"({' '.join(asked)})")[1][0].decode()
        told = {key: int(value) for key, value in re.findall(r"([A-Z]+) (\d+)", counts)}
        assert (one["totalEmails"], one["unreadEmails"], one["size"]) == (told["MESSAGES"], told["UNSEEN"], told.get("SIZE"))
        assert one["uidNext"] == told["UIDNEXT"]
        assert one["uidValidity"] == told["UIDVALIDITY"] or (server.settles_late and one["totalEmails"] == 0)
        assert one["highestModseq"] == (str(told["HIGHESTMODSEQ"]) if server.can("CONDSTORE") else None)


def names(client: Client, query: str) -> set[str]:
    return {one["name"] for one in good(client.get(f"/mailboxes?{query}"))["mailboxes"]}


def test_which_mailboxes(demo: Client, demo_mailbox: ImapServer) -> None:
    full = demo_mailbox.mailbox
    assert names(demo, "role=sent") == {full("Sent")}
    assert names(demo, "role=flagged") == set()
    assert names(demo, f"parent={full('Work')}") == ({full("Work/2024")} if demo_mailbox.has_children else set())
    assert names(demo, f"parent={full('work')}") == set()
    assert names(demo, "parent=Nowhere") == set()
    assert names(demo, "subscribed=1") == full_names(demo_mailbox) - not_subscribed(demo_mailbox)
    assert names(demo, "subscribed=0") == not_subscribed(demo_mailbox)
    assert names(demo, "subscribed=1&role=junk") == {full("Junk")} - not_subscribed(demo_mailbox)
    assert names(demo, "counts=0&fields=name") == full_names(demo_mailbox)
    for one in good(demo.get("/mailboxes?counts=0"))["mailboxes"]:
        assert [one[n] for n in ("totalEmails", "unreadEmails", "size", "uidNext", "highestModseq", "state")] == [None] * 6
    has_children = {"name": full("Work"), "hasChildren": demo_mailbox.has_children}
    assert good(demo.get(f"/mailboxes/{full('Work')}?fields=name,hasChildren")) == has_children


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "with space",
        "at@middle",
        "@begins-with-at",
        "@sent",
        "100%",
        "a%2Fb",
        "q?x=1&y#z",
        "plus+plus",
        'quote"quote',
        "back\\slash",
        "amp&ersand",
        "&AOk-",
        "Grüße",
        "日本語の箱",
        "😀 smile",
        "e\u0301 (combining)",
        "nested/deep/er",
        "Ünï/cödé",
        "{5}",
        "{5+}",
        "(x)",
        "[x]",
        "star~",
        "semi;colon",
        "comma,",
        "..dots..",
        "x" * 200,
    ],
)
def test_names(alice: Client, mail_server: ImapServer, name: str) -> None:
    """Under both addresses each name is exactly itself."""
    name = mail_server.mailbox(name)
    if "{" in name and mail_server.reads_braces_in == "strings":
        pytest.skip("imap4d takes these for a literal's length, between quotes too, and waits for it")
    with seed.session(mail_server.imap_port, "alice", "secret") as client:
        if client.create(seed.quoted(name))[0] == "NO":
            pytest.skip(f"{mail_server.title} has no such names")
        seed.append(client, name, [seed.plain(1, subject="In here")])
    one = good(alice.get(f"/mailboxes/{segment(name)}"))
    assert one["name"] == name and one["totalEmails"] == 1
    assert one["href"].startswith("/mailboxes/") and good(alice.get(one["href"])) == one
    assert name in {each["name"] for each in good(alice.get("/mailboxes"))["mailboxes"]}
    listed = good(alice.get(f"{one['href']}/messages"))
    # In the query too, a leading @ written plainly is a role.
    query = quote(name, safe="")
    assert good(alice.get(f"/messages?mailbox={query}"))["messages"] == listed["messages"]
    message = good(alice.get(f"{one['href']}/messages/1"))
    assert message["mailbox"] == name and message["subject"] == "In here 1"
    assert good(alice.get(message["href"])) == message == good(alice.get(f"/messages/1?mailbox={query}"))


def test_at_is_a_role_only_when_written_plainly(alice: Client, mail_server: ImapServer) -> None:
    with seed.session(mail_server.imap_port, "alice", "secret") as client:
        client.create(seed.quoted("@junk"))
    assert good(alice.get("/mailboxes/@junk"))["name"] == mail_server.mailbox("Junk")
    if mail_server.prefix:  # no name begins with an @ there
        refused(alice.get("/mailboxes/%40junk"), 404, "'@junk'")
        return
    assert good(alice.get("/mailboxes/%40junk"))["name"] == "@junk"
    assert good(alice.get("/mailboxes/%40junk/messages"))["total"] == 0
    assert good(alice.get("/mailboxes/@junk/messages?fields=mailbox"))["messages"] == []
    assert good(alice.get("/messages?mailbox=%40junk"))["total"] == 0
    for target in ("/mailboxes/@none", "/mailboxes/@", "/mailboxes/@Junk", "/messages?mailbox=@spam", "/messages/1?mailbox=@x"):
        refused(alice.get(target), 404, "role")
    refused(alice.get("/mailboxes/@flagged"), 404, "flagged")
    refused(alice.get("/mailboxes/@all/messages"), 404, "all")


@pytest.mark.parametrize("role", sorted(set(ROLES.values())))
def test_roles(demo: Client, demo_mailbox: ImapServer, role: str) -> None:
    one = good(demo.get(f"/mailboxes/@{role}"))
    assert one["role"] == role and one["name"] in {demo_mailbox.mailbox(name) for name in ROLES if ROLES[name] == role}
    listed = good(demo.get(f"/mailboxes/@{role}/messages?limit=3"))
    assert listed["messages"] and all(m["mailbox"] == one["name"] for m in listed["messages"])
    assert good(demo.get(f"/messages?mailbox=@{role}&limit=3"))["messages"] == listed["messages"]
    uid = listed["messages"][0]["uid"]
    assert good(demo.get(f"/mailboxes/@{role}/messages/{uid}"))["href"] == listed["messages"][0]["href"]
    assert demo.get(f"/messages/{uid}/raw?mailbox=@{role}").body == demo.get(f"{listed['messages'][0]['href']}/raw").body


def test_roles_by_name(gateway: Gateway, dovecot: Dovecot) -> None:
    """What the server gives no role gets it by its name, where programs put such mailboxes; the server goes first."""
    for name in ("Work/All Mail", "Gesendet", "Starred", "INBOX/All Mail"):
        dovecot.doveadm("mailbox", "create", "-u", "bob", name)
    bob = gateway.client("bob", dovecot.users["bob"])
    mailboxes = {one["name"]: (one["role"], one["roleSource"]) for one in good(bob.get("/mailboxes"))["mailboxes"]}
    assert mailboxes["Starred"] == ("flagged", "name") and mailboxes["INBOX/All Mail"] == ("all", "name")
    assert mailboxes["Sent"] == ("sent", "server") and mailboxes["Gesendet"] == mailboxes["Work/All Mail"] == (None, None)
    for role, name in (("flagged", "Starred"), ("all", "INBOX/All Mail"), ("sent", "Sent")):
        one = good(bob.get(f"/mailboxes/@{role}"))
        assert one["name"] == name and one == good(bob.get(f"/mailboxes/{segment(name)}"))
        assert good(bob.get(f"/mailboxes/@{role}/messages"))["total"] == 0
    bob.close()


def test_inbox_has_no_case(demo: Client) -> None:
    expected = good(demo.get("/mailboxes/INBOX"))
    for name in ("inbox", "Inbox", "@inbox", "%49nbox"):
        assert good(demo.get(f"/mailboxes/{name}")) == expected
        assert good(demo.get(f"/mailboxes/{name}/messages/7"))["href"] == "/mailboxes/INBOX/messages/7"
    assert good(demo.get("/messages/7")) == good(demo.get("/messages/7?mailbox=inbox"))


def test_names_of_no_mailbox(alice: Client, mail_server: ImapServer) -> None:
    for name in ("Nowhere", "%25", "*", "%2A", "INBOX%2F%2A", "a%22b", "a%20LOGOUT", "x" * 1024):
        for rest in ("", "/messages", "/messages/1"):
            refused(alice.get(f"/mailboxes/{name}{rest}"), 404)
    # Some servers know names that they would not even look for.
    response = alice.get("/mailboxes/..%2F..%2Fetc/messages")
    if response.status != 422:
        refused(response, 404)
    assert (response.status == 422) == (response.json().get("imap", {}).get("code") == "CANNOT")
    for name in ("a%0D%0Ab", "a%0Ab", "%00", "a%7Fb", "%ff", "%c3", "%zz", "%", "x" * 1025):
        for rest in ("", "/messages", "/messages/1"):
            refused(alice.get(f"/mailboxes/{name}{rest}"), 400)
        refused(alice.get(f"/messages/1?mailbox={name}"), 400)
    refused(alice.get("/messages/1?mailbox="), 400, "mailbox")
    refused(alice.get("/messages/1?mailbox=a&mailbox=b"), 400, "mailbox")
    refused(alice.get("/mailboxes/INBOX/messages/1?mailbox=INBOX"), 400, "mailbox")


def test_not_a_byte_of_bad_input_reaches_the_server(start_gateway: StartGateway) -> None:
    with Dovecot(users={"alice": "secret"}, options=Options(rawlog=True)) as server:
        gateway = start_gateway(*tls_options(server))
        client = gateway.client("alice", "secret")
        assert client.get("/mailboxes").status == 200
        for target in (
            "/mailboxes/a%0D%0Aevil1%20LOGOUT",
            "/messages?mailbox=INBOX&subject=a%00evil2",
            "/messages/1?mailbox=a%0Aevil3",
            "/messages?mailbox=INBOX&header=a%0D%0Aevil4:x",
            "/messages?mailbox=INBOX&keyword=evil5%20x",
            "/messages?mailbox=INBOX&uid=1%0D%0Aevil6",
            "/messages/1/parts/1%0D%0Aevil7",
            "/messages?mailbox=INBOX&evil8=1",
        ):
            assert client.get(target).status == 400, target
        assert client.put("/messages/1/keywords/evil9%0D%0Ax").status == 400
        gateway.stop()
        server.wait_for_log("Logged out")
        assert b"evil" not in server.rawlog("alice")


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("/mailboxes?role=postmaster", "role"),
        ("/mailboxes?role=", "role"),
        ("/mailboxes?subscribed=2", "subscribed"),
        ("/mailboxes?counts=many", "counts"),
        ("/mailboxes?fields=colour", "colour"),
        ("/mailboxes?fields=", "fields"),
        ("/mailboxes?parent=a&parent=b", "parent"),
        ("/mailboxes?limit=5", "limit"),
        ("/mailboxes?feilds=name", "fields"),
        ("/mailboxes/INBOX?counts=0", "counts"),
        ("/mailboxes/INBOX?fields=subject", "subject"),
        ("/messages/0", "0"),
        ("/messages/-1", "-1"),
        ("/messages/07", "07"),
        ("/messages/1.0", "1.0"),
        ("/messages/4294967296", "4294967296"),
        ("/messages/x", "x"),
        ("/messages/1:5", "1:5"),
        ("/messages/*", "*"),
        ("/messages/7?fields=colour", "colour"),
        ("/messages/7?maxBodyValueBytes=1048577", "maxBodyValueBytes"),
        ("/messages/7?maxBodyValueBytes=-1", "maxBodyValueBytes"),
        ("/messages/7?markSeen=2", "markSeen"),
        ("/messages/7?markseen=1", "markSeen"),
        ("/messages/7?uidValidity=0", "uidValidity"),
        ("/messages/7?uidValidity=4294967296", "uidValidity"),
        ("/messages/7?preview=1", "preview"),
    ],
)
def test_bad_input_is_named(demo: Client, target: str, named: str) -> None:
    refused(demo.get(target), 400, named)


def test_mailbox_that_cannot_be_selected(alice: Client, mail_server: ImapServer) -> None:
    with seed.session(mail_server.imap_port, "alice", "secret") as client:
        node = mail_server.mailbox("node")
        if client.create(seed.quoted(mail_server.below(node, "leaf")))[0] == "NO":
            pytest.skip(f"{mail_server.title} has no mailboxes below others")
    one = good(alice.get(f"/mailboxes/{node}"))
    assert one["hasChildren"] is True and one in good(alice.get("/mailboxes"))["mailboxes"]
    response = alice.get(f"/mailboxes/{node}/messages")
    if one["isSelectable"]:  # the server has made one
        assert good(response)["total"] == one["totalEmails"] == 0
    else:
        assert one["totalEmails"] is None and response.status in (404, 409, 422), response.body


def test_mailboxes_by_a_second_client(alice: Client, mail_server: ImapServer) -> None:
    """Made, filled, renamed, unsubscribed, deleted: seen at once."""
    etag = alice.get("/mailboxes").header("ETag") or ""
    assert alice.get("/mailboxes", {"If-None-Match": etag}).status == 304 or mail_server.settles_late
    mailbox = new_mailbox(mail_server)
    target = f"/mailboxes/{segment(mailbox)}"
    response = alice.get("/mailboxes", {"If-None-Match": etag})
    assert response.status == 200 and mailbox in response.text
    etag = alice.get(target).header("ETag") or ""
    with seed.session(mail_server.imap_port, "alice", "secret") as client:
        seed.append(client, mailbox, [seed.Message(seed.plain(1).raw)])
        response = alice.get(target, {"If-None-Match": etag})
        assert good(response)["totalEmails"] == 1 and response.json()["unreadEmails"] == 1
        client.unsubscribe(seed.quoted(mailbox))
        assert good(alice.get(target))["isSubscribed"] is False
        client.rename(seed.quoted(mailbox), seed.quoted(mailbox + " renamed"))
        refused(alice.get(target), 404)
        refused(alice.get(f"{target}/messages"), 404)
        assert good(alice.get(f"{target}%20renamed"))["totalEmails"] == 1
        assert uids(alice.get(f"{target}%20renamed/messages")) == [1]
        client.delete(seed.quoted(mailbox + " renamed"))
    refused(alice.get(f"{target}%20renamed"), 404)


def test_counts_of_the_selected_mailbox_are_fresh(alice: Client, mail_server: ImapServer) -> None:
    """STATUS of a mailbox that the pool has open must not be what it was when it was opened."""
    mailbox = new_mailbox(mail_server, [seed.Message(seed.plain(n).raw) for n in range(4)])
    target = f"/mailboxes/{segment(mailbox)}"
    assert len(uids(alice.get(f"{target}/messages"))) == 4
    with second_client(mail_server, mailbox) as other:
        store(other, "1:2", "+FLAGS", "\\Seen")
        assert good(alice.get(target))["unreadEmails"] == 2
        expunge(other, [1])
        seed.append(other, mailbox, [seed.plain(9), seed.plain(10)])
        one = good(alice.get(target))
        assert (one["totalEmails"], one["uidNext"]) == (5, 7)
        listed = next(m for m in good(alice.get("/mailboxes"))["mailboxes"] if m["name"] == mailbox)
        assert listed == listed_as(mail_server, one)


# ---- one message ----


def test_a_message_in_full(demo: Client) -> None:
    message = good(demo.get("/messages/7"))
    assert message["subject"] == "Your invoice 2024-117"
    assert message["from"] == [{"name": "Northwind Hosting", "email": "billing@northwind.example"}]
    assert message["to"] == [{"name": "Demo Person", "email": "demo@example.test"}]
    assert message["messageId"] == ["invoice-117@example.test"]
    assert message["hasAttachment"] is True
    assert message["preview"].startswith("Dear customer, attached is invoice 2024-117 over 48,50 €.")
    assert [part["name"] for part in message["attachments"]] == ["invoice-2024-117.pdf"]
    assert [part["partId"] for part in message["textBody"]] == ["1"] == [part["partId"] for part in message["htmlBody"]]
    assert [part["partId"] for part in message["bodyStructure"]["subParts"]] == ["1", "2"]
    assert message["bodyValues"]["1"]["value"].startswith("Dear customer,\r\n")
    assert [field["name"] for field in message["headers"]][:3] == ["From", "To", "Subject"]
    assert message["receivedAt"].endswith("Z") and message["sentAt"] < message["receivedAt"]


def test_decoded_text_of_the_demo(demo: Client, demo_mailbox: ImapServer) -> None:
    subjects = {
        4: "打ち合わせの日程について",
        5: "Отчёт за третий квартал",
        9: "“Smart” quotes – and €",
        10: "数据更新通知",
        15: "日本の朝ごはん",
        17: demo_mailbox.raw_text("Café crème à emporter — raw UTF-8 in a header"),
        19: None,
        24: "שלום, מה שלומך?",
        37: "Lunch? 🍜",
    }
    for uid, subject in subjects.items():
        assert good(demo.get(f"/messages/{uid}?fields=subject")) == {"subject": subject}
    senders = {4: "山田 太郎", 5: "Ирина Волкова", 9: "Marie Lefèvre", 10: "王小明", 11: "Jörg Müßig", 24: "דנה"}
    for uid, name in senders.items():
        assert good(demo.get(f"/messages/{uid}?fields=from"))["from"][0]["name"] == name
    assert good(demo.get("/messages/36?fields=inReplyTo,references")) == {
        "inReplyTo": ["porto-3@example.test"],
        "references": ["porto-1@example.test", "porto-2@example.test", "porto-3@example.test"],
    }
    crowd = good(demo.get("/messages/20?fields=cc"))["cc"]
    assert len(crowd) == 122 and crowd[0] == {"name": None, "email": "ann@example.test"}
    odd = good(demo.get("/messages/19"))
    assert odd["sentAt"] is None and odd["messageId"] == [] and odd["to"] == []


def test_no_message_makes_an_error(demo: Client, demo_mailbox: ImapServer) -> None:
    """Every message of every demo mailbox, whole, by both addresses, alike in the list and alone."""
    for name in sorted(full_names(demo_mailbox)):
        listed = good(demo.get(f"/mailboxes/{segment(name)}/messages?limit=200&preview=1"))["messages"]
        for short in listed:
            canonical = good(demo.get(short["href"]))
            assert canonical == good(demo.get(f"/messages/{short['uid']}?mailbox={quote(name)}"))
            assert {key: canonical[key] for key in short} == short


def test_body_values_are_cut_between_characters(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, [seed.plain(1, body="äöü€😀" * 20)])
    target = f"/mailboxes/{segment(mailbox)}/messages/1?fields=bodyValues&maxBodyValueBytes="
    for limit in range(0, 40):
        value = good(alice.get(target + str(limit)))["bodyValues"]["1"]
        assert value["isTruncated"] is True and value["isEncodingProblem"] is False
        size = len(value["value"].encode())
        assert size <= limit and limit - size < 4, f"{limit}: {value['value']!r}"
    value = good(alice.get(target + "10000"))["bodyValues"]["1"]
    assert value == {"value": "äöü€😀" * 20 + "\r\n", "isTruncated": False, "isEncodingProblem": False}


def test_etag_and_a_second_client(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, [seed.Message(seed.plain(n).raw) for n in range(2)])
    target = f"/mailboxes/{segment(mailbox)}/messages/1"
    etag = alice.get(target).header("ETag") or ""
    assert alice.get(f"/messages/1?mailbox={quote(mailbox)}").header("ETag") == etag
    assert alice.get(target, {"If-None-Match": etag}).status == 304
    assert alice.get(target, {"If-None-Match": "*"}).status == 304
    with second_client(mail_server, mailbox) as other:
        for how, expected in (("+FLAGS", {"$flagged": True, "x": True}), ("-FLAGS", {})):
            store(other, "1", how, "\\Flagged x")
            response = alice.get(target, {"If-None-Match": etag})
            assert good(response)["keywords"] == expected and response.header("ETag") != etag
            etag = response.header("ETag") or ""
        store(other, "2", "+FLAGS", "\\Flagged")
        assert alice.get(target, {"If-None-Match": etag}).status == 304
        expunge(other, [1])
        refused(alice.get(target, {"If-None-Match": etag}), 404)
        refused(alice.get(target), 404)
        assert alice.get(f"/mailboxes/{segment(mailbox)}/messages/2").status == 200


def test_a_message_that_arrives_is_there_at_once(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, map(seed.plain, range(2)))
    where = f"/mailboxes/{segment(mailbox)}/messages"
    refused(alice.get(f"{where}/3"), 404)
    with second_client(mail_server, mailbox) as other:
        for uid in range(3, 8):
            seed.append(other, mailbox, [seed.plain(uid)])
            assert good(alice.get(f"{where}/{uid}"))["uid"] == uid
            assert uids(alice.get(f"{where}?limit=1")) == [uid]
            assert alice.get(f"{where}/{uid}/raw").status == 200


def test_reading_never_marks_as_seen(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, [seed.Message(seed.plain(n).raw) for n in range(2)])
    target = f"/mailboxes/{segment(mailbox)}/messages/1"
    before = highest_modseq(mail_server, mailbox)
    for rest in ("", "?fields=headers", "?fields=bodyValues,preview", "?markSeen=0", "?pretty=1"):
        good(alice.get(target + rest))
        alice.head(target + rest)
    with second_client(mail_server, mailbox) as other:
        assert flags_of(other, 1) <= {"\\Recent"}
        assert highest_modseq(mail_server, mailbox) == before
        response = alice.get(f"{target}?markSeen=1")
        assert good(response)["keywords"] == {"$seen": True}
        assert "\\Seen" in flags_of(other, 1) and "\\Seen" not in flags_of(other, 2)
    assert alice.get(target).header("ETag") == response.header("ETag")
    assert good(alice.get(target))["modseq"] == response.json()["modseq"]
    # what is cached must not keep markSeen from doing its work
    with second_client(mail_server, mailbox) as other:
        store(other, "1", "-FLAGS", "\\Seen")
        etag = alice.get(target).header("ETag") or ""
        assert good(alice.get(f"{target}?markSeen=1", {"If-None-Match": etag}))["keywords"] == {"$seen": True}
        assert "\\Seen" in flags_of(other, 1)


def test_another_account_sees_nothing_of_it(gateway: Gateway, alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, [seed.plain(1, subject="Only alice's")])
    bob = gateway.client("bob", mail_server.users["bob"])
    target = f"/mailboxes/{segment(mailbox)}"
    etag = alice.get(f"{target}/messages/1").header("ETag") or ""
    for rest in ("", "/messages", "/messages/1", "/messages/1/raw"):
        assert alice.get(target + rest).status == 200
        refused(bob.get(target + rest, {"If-None-Match": etag}), 404)
    assert mailbox not in bob.get("/mailboxes").text
    bob.close()


def test_headers_of_every_reply(demo: Client) -> None:
    response = demo.get("/messages/7", {"X-Request-Id": "my.request-1_a"})
    assert response.header("X-Request-Id") == "my.request-1_a"
    for bad in ("a b", "x" * 65, "é".encode().decode("latin-1"), 'a"b', ""):
        assert demo.get("/messages/7", {"X-Request-Id": bad}).header("X-Request-Id") != bad
    seen = {demo.get("/healthz").header("X-Request-Id") for _ in range(5)}
    assert len(seen) == 5
    timing = dict(re.findall(r"(\w+);dur=([\d.]+)", demo.get("/mailboxes").header("Server-Timing") or ""))
    assert float(timing["imap"]) > 0 and float(timing["total"]) >= float(timing["imap"])
    assert float(dict(re.findall(r"(\w+);dur=([\d.]+)", demo.get("/").header("Server-Timing") or ""))["imap"]) == 0


def test_pretty(demo: Client) -> None:
    for target in ("/", "/mailboxes?counts=0", "/messages/7", "/messages/7/headers", "/nowhere", "/messages/99"):
        compact, indented = demo.get(target), demo.get(f"{target}{'&' if '?' in target else '?'}pretty=1")
        assert compact.body.count(b"\n") == 1 and indented.body.startswith(b'{\n  "')
        strip = {"requestId", "instance", "detail"}
        assert {k: v for k, v in compact.json().items() if k not in strip} == {
            k: v for k, v in indented.json().items() if k not in strip
        }


@pytest.mark.needs("keywords")
def test_cors(start_gateway: StartGateway, demo_mailbox: ImapServer) -> None:
    gateway = start_gateway(*tls_options(demo_mailbox), "--cors-origin", "https://app.example")
    client = gateway.client("demo", "demo")
    allowed, foreign = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
    for target in ("/messages/7", "/messages/7/raw", "/nowhere", "/messages/0"):
        response = client.get(target, allowed)
        assert response.header("Access-Control-Allow-Origin") == "https://app.example"
        assert response.header("Access-Control-Allow-Credentials") == "true"
        assert "ETag" in (response.header("Access-Control-Expose-Headers") or "")
        for headers in (foreign, {"Origin": "null"}, {}):
            assert client.get(target, headers).header("Access-Control-Allow-Origin") is None
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization, if-match"}
    preflight = gateway.client().request("OPTIONS", "/messages/7", headers=allowed | asked)
    assert preflight.status == 204 and "PATCH" in (preflight.header("Access-Control-Allow-Methods") or "")
    assert {"authorization", "if-match"} <= set((preflight.header("Access-Control-Allow-Headers") or "").lower().split(", "))
    assert gateway.client().request("OPTIONS", "/messages/7", headers=foreign | asked).status == 403
    assert good(client.put("/messages/7/keywords/cors", allowed))["keywords"]["cors"] is True
    refused(client.delete("/messages/7/keywords/cors", foreign), 403)


def test_roles_that_were_laid_down(start_gateway: StartGateway, demo_mailbox: ImapServer) -> None:
    """They count before SPECIAL-USE; where an account lacks the mailbox, it is as if nothing had been said."""
    full = demo_mailbox.mailbox
    gateway = start_gateway(
        *tls_options(demo_mailbox),
        "--mailbox-role",
        f"archive={full('Résumés')}",
        environment={"GATEPOST_MAILBOX_ROLE": "trash=Never read"},
    )
    client = gateway.client("demo", "demo")
    mailboxes = {one["name"]: (one["role"], one["roleSource"]) for one in good(client.get("/mailboxes?counts=0"))["mailboxes"]}
    assert mailboxes[full("Résumés")] == ("archive", "config") and mailboxes[full("Archive")] == (None, None)
    assert good(client.get("/mailboxes/@archive"))["name"] == full("Résumés")
    assert good(client.get(f"/mailboxes/{full('Archive')}?fields=role"))["role"] is None
    assert [one["name"] for one in good(client.get("/mailboxes?role=archive"))["mailboxes"]] == [full("Résumés")]
    assert mailboxes[full("Trash")] == ("trash", "server" if demo_mailbox.can("SPECIAL-USE") else "name")  # the command line's list took the environment's place
    from_environment = start_gateway(*tls_options(demo_mailbox), environment={"GATEPOST_MAILBOX_ROLE": f"trash={full('Work/2024')}, all=Nowhere"})
    client = from_environment.client("demo", "demo")
    assert good(client.get("/mailboxes/@trash?fields=name,roleSource")) == {"name": full("Work/2024"), "roleSource": "config"}
    refused(client.get("/mailboxes/@all"), 404, "all")
