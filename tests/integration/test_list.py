"""Lists of messages: paging, filters, sort, fields, bodies, and what they cost in requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime, timezone
from urllib.parse import quote, urlencode

import pytest
import seed
from conftest import StartGateway, tls_options
from dovecot import Dovecot, Options
from http_client import Client
from imap_server import ImapServer
from mail_tools import expunge, flags_of, good, new_mailbox, pages, refused, second_client, segment, store, uids
from openapi_check import Description


def listing(mailbox: str, **parameters: object) -> str:
    query = urlencode(parameters, doseq=True)
    return f"/mailboxes/{segment(mailbox)}/messages" + (f"?{query}" if query else "")


# ---- paging ----


def test_newest_first_by_pages(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, map(seed.plain, range(25)))
    found = pages(alice, listing(mailbox, limit=10, fields="uid"))
    assert found == [list(range(25, 15, -1)), list(range(15, 5, -1)), list(range(5, 0, -1))]
    assert pages(alice, listing(mailbox, limit=25)) == [list(range(25, 0, -1))]
    assert pages(alice, listing(mailbox, limit=1))[24] == [1]
    assert good(alice.get(listing(mailbox)))["total"] == 25
    assert pages(alice, listing(mailbox)) == [list(range(25, 0, -1))]


def test_empty_mailbox(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server)
    for parameters in ({}, {"seen": "0"}, {"sort": "subject"}, {"uid": "1:*"}, {"preview": "1", "body": "text"}):
        body = good(alice.get(listing(mailbox, **parameters)))
        assert body["messages"] == [] and body["total"] == 0 and "next" not in body
        assert body["uidValidity"] > 0


def test_default_limit_is_fifty(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, map(seed.plain, range(51)))
    assert [len(page) for page in pages(alice, listing(mailbox, fields="uid"))] == [50, 1]


def page_while_a_second_client_writes(client: Client, server: ImapServer, parameters: dict[str, str]) -> None:
    """Between pages messages arrive and go, the cursor's own among them: no message twice, none lost."""
    mailbox = new_mailbox(server, (seed.plain(n, body="x" * (n * 37 % 101)) for n in range(120)))
    gone: set[int] = set()
    n_shown = [0]
    with second_client(server, mailbox) as other:

        def disturb(page: int, shown: list[int]) -> None:
            assert gone.isdisjoint(shown[n_shown[-1] :]), "what was gone before was shown"
            n_shown.append(len(shown))
            unseen = sorted(set(range(1, 121)) - set(shown) - gone)
            doomed = {shown[-1]} if page % 2 else set()  # the cursor points at it
            doomed |= set(shown[:2])  # seen already
            doomed |= set(unseen[len(unseen) // 2 :][:1])  # still to come
            expunge(other, sorted(doomed - gone))
            gone.update(doomed)
            seed.append(other, mailbox, [seed.plain(1000 + page), seed.plain(2000 + page)])

        found = pages(client, listing(mailbox, limit=10, fields="uid", **parameters), disturb)
    flat = [uid for page in found for uid in page]
    assert len(flat) == len(set(flat)), "a message came twice"
    lost = set(range(1, 121)) - gone - set(flat)
    assert not lost, f"lost: {sorted(lost)}"
    if not parameters or "subject" in parameters:
        assert flat == sorted(flat, reverse=True) and max(flat) == 120


WAYS = [{}, {"subject": "Message"}, {"hasAttachment": "0"}, {"sort": "receivedAt"}, {"sort": "-size,subject"}]


@pytest.mark.parametrize("parameters", WAYS, ids=str)
def test_paging_while_a_second_client_writes(alice: Client, mail_server: ImapServer, parameters: dict[str, str]) -> None:
    page_while_a_second_client_writes(alice, mail_server, parameters)


@pytest.fixture(scope="module")
def bare() -> Iterator[Dovecot]:
    with Dovecot(users={"alice": "secret"}, options=Options(capability="IMAP4rev1 UIDPLUS")) as server:
        yield server


@pytest.mark.parametrize("parameters", WAYS, ids=str)
def test_paging_likewise_on_a_bare_server(start_gateway: StartGateway, bare: Dovecot, parameters: dict[str, str]) -> None:
    """Without ESEARCH, SORT and CONDSTORE. (UIDPLUS is for the second client.)"""
    client = start_gateway(*tls_options(bare)).client("alice", "secret")
    page_while_a_second_client_writes(client, bare, parameters)


def test_paging_by_position_after_many_expunges(alice: Client, mail_server: ImapServer) -> None:
    """All that the first page showed goes, and most of what would come next."""
    mailbox = new_mailbox(mail_server, map(seed.plain, range(60)))
    with second_client(mail_server, mailbox) as other:
        found = pages(
            alice,
            listing(mailbox, limit=20, fields="uid"),
            lambda page, shown: expunge(other, range(15, 61)) if page == 1 else None,
        )
    assert found == [list(range(60, 40, -1)), list(range(14, 0, -1))]


def test_cursor_belongs_to_its_query(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, map(seed.plain, range(9)))
    cursor = good(alice.get(listing(mailbox, limit=2, seen=1)))["next"].split("cursor=")[1]
    refused(alice.get(listing(mailbox, limit=2, seen=0, cursor=cursor)), 400, "cursor")
    refused(alice.get(listing(mailbox, limit=2, cursor=cursor)), 400, "cursor")
    for text in ("x", "1.2.3", "1.2.3.4.5", "", "1.0.3.4", "-1.2.3.4", "99999999999.1.1.1"):
        refused(alice.get(listing(mailbox, cursor=text)), 400, "cursor")
    # what only decides how much is shown may change
    page = uids(alice.get(listing(mailbox, limit=1, seen=1, cursor=cursor, fields="uid", preview=1, body="text")))
    assert page == uids(alice.get(listing(mailbox, limit=3, seen=1)))[2:3]


def test_uidvalidity(alice: Client, dovecot: Dovecot) -> None:
    mailbox = new_mailbox(dovecot, map(seed.plain, range(5)))
    first = good(alice.get(listing(mailbox, limit=2)))
    validity, following = first["uidValidity"], first["next"]
    assert uids(alice.get(listing(mailbox, limit=1, uidValidity=validity))) == [5]
    with seed.session(dovecot.imap_port, "alice", "secret") as client:
        client.delete(seed.quoted(mailbox))
        seed.create(client, mailbox)
        client.select(seed.quoted(mailbox), readonly=True)
        now = int(client.response("UIDVALIDITY")[1][0])
        seed.append(client, mailbox, map(seed.plain, range(5)))
    assert now != validity
    if dovecot.version >= (2, 4):
        pytest.skip("a session of Dovecot 2.4 reads on in the deleted mailbox that it has open, and tells nobody")
    for target in (
        listing(mailbox, uidValidity=validity),
        f"/messages/1?mailbox={quote(mailbox)}&uidValidity={validity}",
        following,
    ):
        refused(alice.get(target), 410, "UIDVALIDITY")
    # Dovecot may give the new mailbox one more UIDVALIDITY when it finds the old one's index open in a session.
    assert good(alice.get(listing(mailbox, limit=1)))["uidValidity"] != validity


# ---- filters ----

JANUARY = datetime(2024, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
MARCH = datetime(2024, 3, 15, 8, 30, 15, tzinfo=timezone.utc)


def _message(*lines: str, body: str = "Nothing to see.", kind: str = "text/plain; charset=utf-8") -> bytes:
    head = "\r\n".join((*lines, "MIME-Version: 1.0", f"Content-Type: {kind}"))
    return f"{head}\r\n\r\n{body}\r\n".encode()


ONE = seed.Message(
    _message(
        "From: Ann Keller <ann@example.test>",
        "To: Tom <tom@example.test>",
        "Cc: Kim <kim@example.test>",
        "Bcc: secret@example.test",
        "Subject: Quarterly =?utf-8?Q?r=C3=A9sum=C3=A9?=",
        "Date: Wed, 31 Jan 2024 13:00:00 +0100",
        "Message-ID: <one@example.test>",
        "List-Id: Friends <friends.lists.example>",
        body="The walrus said: façade.",
    ),
    ("\\Seen", "\\Flagged", "project-x"),
    JANUARY,
)
TWO = seed.Message(
    _message(
        "From: Bob Stone <bob@example.test>",
        "To: Ann Keller <ann@example.test>",
        "Subject: Lunch",
        "Date: Fri, 15 Mar 2024 08:30:10 +0000",
        "Message-ID: <two@example.test>",
        body="--b\r\nContent-Type: text/plain\r\n\r\nSee file.\r\n--b\r\nContent-Type: application/pdf\r\n"
        'Content-Disposition: attachment; filename="a.pdf"\r\n\r\n%PDF\r\n--b--' + " " * 4000,
        kind="multipart/mixed; boundary=b",
    ),
    ("\\Answered", "\\Draft", "$Other"),
    MARCH,
)


@pytest.fixture(scope="module")
def two(mail_server: ImapServer) -> str:
    """UID 1 is ONE, UID 2 is TWO."""
    return new_mailbox(mail_server, [kept(mail_server, ONE), kept(mail_server, TWO)])


def kept(server: ImapServer, message: seed.Message) -> seed.Message:
    """The message with the keywords that the server keeps."""
    return dataclasses.replace(message, flags=tuple(flag for flag in message.flags if server.keeps_keywords or flag.startswith("\\")))


SIZE = (len(seed.crlf(ONE.raw)), len(seed.crlf(TWO.raw)))
FILTERS: list[tuple[str, list[int]]] = [
    ("from=ann", [1]),
    ("from=ANN%20KELLER", [1]),
    ("from=example.test", [2, 1]),
    ("from=example.test&from=bob", [2]),
    ("from=nobody", []),
    ("to=ann", [2]),
    ("to=kim", []),
    ("cc=kim", [1]),
    ("cc=ann", []),
    ("bcc=secret", [1]),
    ("bcc=ann", []),
    ("subject=lunch", [2]),
    ("subject=r%C3%A9sum%C3%A9", [1]),
    ("subject=dinner", []),
    ("body=walrus", [1]),
    ("body=fa%C3%A7ade", [1]),
    ("body=quarterly", []),
    ("body=text", [2, 1]),  # no filter: asks for bodies
    ("body=text%20", []),
    ("text=quarterly", [1]),
    ("text=walrus", [1]),
    ("text=zebra", []),
    ("header=List-Id:friends", [1]),
    ("header=List-Id", [1]),
    ("header=list-id:", [1]),
    ("header=List-Id:enemies", []),
    ("header=X-None", []),
    ("messageId=two@example.test", [2]),
    ("messageId=%3Ctwo@example.test%3E", [2]),
    ("messageId=three@example.test", []),
    ("before=2024-02-01", [1]),
    ("before=2024-01-31", []),
    ("after=2024-03-15", [2]),
    ("after=2024-03-16", []),
    ("after=2024-01-31&before=2024-03-16", [2, 1]),
    ("before=2024-01-31T12:00:01Z", [1]),
    ("before=2024-01-31T12:00:00Z", []),
    ("after=2024-01-31T12:00:00Z", [2, 1]),
    ("after=2024-01-31T13:00:01%2B01:00", [2]),
    ("after=2024-03-15T08:30:15Z", [2]),
    ("after=2024-03-15T08:30:16Z", []),
    ("sentBefore=2024-02-01", [1]),
    ("sentAfter=2024-03-15", [2]),
    ("sentAfter=2024-03-16", []),
    ("sentAfter=2024-03-15T08:30:10Z", [2]),
    ("sentAfter=2024-03-15T08:30:11Z", []),
    ("sentBefore=2024-01-31T12:00:01Z", [1]),
    ("sentBefore=2024-01-31T12:00:00Z", []),
    (f"minSize={SIZE[1]}", [2]),
    (f"minSize={SIZE[1] + 1}", []),
    (f"minSize={SIZE[0]}", [2, 1]),
    ("minSize=0", [2, 1]),
    (f"maxSize={SIZE[0]}", [1]),
    (f"maxSize={SIZE[0] - 1}", []),
    ("maxSize=0", []),
    ("seen=1", [1]),
    ("seen=0", [2]),
    ("seen=true", [1]),
    ("seen", [1]),
    ("flagged=1", [1]),
    ("flagged=0", [2]),
    ("answered=1", [2]),
    ("answered=0", [1]),
    ("draft=1", [2]),
    ("draft=0", [1]),
    ("seen=1&answered=1", []),
    ("keyword=project-x", [1]),
    ("keyword=PROJECT-X", [1]),
    ("keyword=$other", [2]),
    ("keyword=$seen", [1]),
    ("keyword=$deleted", []),
    ("keyword=unheard-of", []),
    ("keyword=$seen&keyword=project-x", [1]),
    ("keyword=$seen&keyword=$other", []),
    ("notKeyword=project-x", [2]),
    ("notKeyword=$seen", [2]),
    ("notKeyword=unheard-of", [2, 1]),
    ("notKeyword=$seen&notKeyword=$draft", []),
    ("hasAttachment=1", [2]),
    ("hasAttachment=0", [1]),
    ("hasAttachment=1&seen=1", []),
    ("uid=1", [1]),
    ("uid=2:*", [2]),
    ("uid=1,2", [2, 1]),
    ("uid=3", []),
    ("uid=2:1", [2, 1]),
    ("uid=9:*", []),  # to IMAP it is the last message, too
    ("uid=2:*", [2]),
    ("uid=*", [2]),
    ("uid=1:2&seen=0", [2]),
    ("changedSince=0", [2, 1]),
    ("changedSince=9000000000000000000", []),
]


@pytest.mark.parametrize(("query", "expected"), FILTERS, ids=[query for query, _ in FILTERS])
def test_filter(alice: Client, mail_server: ImapServer, two: str, query: str, expected: list[int]) -> None:
    name, _, value = query.partition("=")
    if name == "changedSince" and not mail_server.can("CONDSTORE"):
        refused(alice.get(f"{listing(two)}?{query}"), 422, "changedSince")
        return
    if not mail_server.keeps_keywords and ("project-x" in query.lower() or "$other" in query):
        expected = [2, 1] if name == "notKeyword" else []
    if mail_server.is_frail and ("*" in value or name == "notKeyword" and "$seen" not in query):
        pytest.skip(f"{mail_server.title} knows no * in a search, and ends its session over UNKEYWORD")
    if "*" in value and not mail_server.finds_last_uid:
        expected = [uid for uid in expected if value == f"{uid}:*"]
    if name in ("minSize", "maxSize") and int(value) > 0 and (mail_server.searches_size_without_cr or mail_server.own_fields):
        sizes = {one["uid"]: one["size"] for one in good(alice.get(listing(two)))["messages"]}
        if mail_server.searches_size_without_cr:
            sizes = {uid: len(seed.crlf(raw).replace(b"\r", b"")) for uid, raw in ((2, TWO.raw), (1, ONE.raw))}
        expected = [uid for uid, size in sizes.items() if (size >= int(value) if name == "minSize" else size <= int(value))]
    for target in (f"{listing(two)}?{query}", f"/messages?mailbox={quote(two)}&{query}"):
        body = good(alice.get(target))
        assert [message["uid"] for message in body["messages"]] == expected
        is_tested_here = not mail_server.keeps_keywords and name == "keyword" or "hasAttachment" in query or "T" in query.split("=")[-1] and query[0] in "abs" and ":" in query
        assert body["total"] in ((len(expected), None) if is_tested_here else (len(expected),))
        assert "next" not in body


def test_every_filter_has_a_positive_and_a_negative_case() -> None:
    description = Description.load()
    operation = description.find("GET", "/mailboxes/INBOX/messages")
    names = {parameter["name"] for parameter in description.parameters(operation) if parameter["in"] == "query"}
    names -= {"uidValidity", "limit", "cursor", "sort", "fields", "preview", "maxBodyValueBytes", "pretty", "format"}
    names -= {"threadId"}  # Dovecot has no conversations: 422 is tested below
    for name in names:
        results = [expected for query, expected in FILTERS if query.split("=")[0] == name and "&" not in query]
        assert any(results), f"no positive case for {name}"
        assert any(len(expected) < 2 for expected in results), f"no negative case for {name}"


def test_changed_since(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, map(seed.plain, range(4)))
    if not mail_server.can("CONDSTORE"):
        assert good(alice.get(f"/mailboxes/{segment(mailbox)}"))["highestModseq"] is None
        refused(alice.get(listing(mailbox, changedSince=1)), 422, "changedSince")
        return
    state = good(alice.get(f"/mailboxes/{segment(mailbox)}"))["highestModseq"]
    assert uids(alice.get(listing(mailbox, changedSince=state))) == []
    with second_client(mail_server, mailbox) as other:
        store(other, "2", "+FLAGS", "\\Flagged")
    assert uids(alice.get(listing(mailbox, changedSince=state))) == [2]


def test_what_the_server_cannot_search_is_422(alice: Client, mail_server: ImapServer, two: str) -> None:
    response = alice.get(listing(two, threadId="T1"))
    if mail_server.can("OBJECTID"):
        assert good(response)["messages"] == []
    else:
        refused(response, 422, "threadId")


def test_texts_reach_the_server_as_they_are(alice: Client, mail_server: ImapServer) -> None:
    """Quotes, backslashes, literals and line ends are data."""
    texts = ['say "hi"', "back\\slash", "100% {5}", "{5+}", "(ALL)", "* OK", "ünïcödé ✓", "a&b=c"]
    if mail_server.reads_braces_in == "strings":
        texts = [text for text in texts if not text.endswith("}")]
    raw = [_message("From: a@example.test", f"Subject: n{n}", body=text) for n, text in enumerate(texts)]
    mailbox = new_mailbox(mail_server, map(seed.Message, raw))
    for number, text in enumerate(texts, 1):
        assert uids(alice.get(listing(mailbox, body=text))) == [number], text
    for text in ("a\r\nb LOGOUT", "a\nb", "{10}\r\n"):
        response = alice.get(listing(mailbox, body=text))
        assert response.status in (200, 400), response.body
        if response.status == 200:
            assert response.json()["messages"] == []
    assert len(uids(alice.get(listing(mailbox)))) == len(texts)


# ---- sort ----


@pytest.fixture(scope="module")
def sortable(mail_server: ImapServer) -> str:
    """Twelve messages whose keys disagree with each other, with ties."""
    messages = []
    for n in range(12):
        sent = datetime(2024, 5, 1 + n * 5 % 12, 10, 0, 0, tzinfo=timezone.utc)
        messages.append(
            seed.Message(
                _message(
                    f"From: {'cab'[n % 3]}{n % 2}@example.test",
                    f"To: {'zyx'[n // 4]}@example.test",
                    f"Cc: {'mn'[n % 2]}@example.test",
                    f"Subject: {'Re: ' if n % 2 else ''}{'delta alpha Gamma beta'.split()[n % 4]}",
                    f"Date: {sent.strftime('%a, %d %b %Y %H:%M:%S')} +0000",
                    body="x" * (n * 7 % 12 * 10),
                ),
                (),
                datetime(2024, 6, 1 + n * 7 % 12, 9, 0, 0, tzinfo=timezone.utc),
            )
        )
    return new_mailbox(mail_server, messages)


KEYS = {
    "receivedAt": lambda m: m["receivedAt"],
    "sentAt": lambda m: m["sentAt"],
    "from": lambda m: m["from"][0]["email"].split("@")[0],
    "to": lambda m: m["to"][0]["email"].split("@")[0],
    "cc": lambda m: m["cc"][0]["email"].split("@")[0],
    "subject": lambda m: m["subject"].removeprefix("Re: ").lower(),
    "size": lambda m: m["size"],
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("sign", ["", "-"])
def test_sort(alice: Client, sortable: str, key: str, sign: str) -> None:
    everything = sorted(good(alice.get(listing(sortable)))["messages"], key=lambda m: m["uid"])
    expected = sorted(everything, key=KEYS[key], reverse=bool(sign))
    body = good(alice.get(listing(sortable, sort=sign + key)))
    assert list(map(KEYS[key], body["messages"])) == list(map(KEYS[key], expected))
    order = [message["uid"] for message in body["messages"]]
    assert sorted(order) == list(range(1, 13)) and body["total"] == 12
    found = pages(alice, listing(sortable, sort=sign + key, limit=5))
    assert [len(page) for page in found] == [5, 5, 2]
    assert [uid for page in found for uid in page] == order


def test_sort_by_several_keys_and_with_filters(alice: Client, sortable: str) -> None:
    everything = good(alice.get(listing(sortable)))["messages"]
    expected = sorted(everything, key=lambda m: m["receivedAt"], reverse=True)
    expected = sorted(expected, key=lambda m: (KEYS["to"](m), KEYS["from"](m)))
    assert uids(alice.get(listing(sortable, sort="to,from,-receivedAt"))) == [m["uid"] for m in expected]
    filtered = [m["uid"] for m in sorted(everything, key=KEYS["size"]) if KEYS["cc"](m) == "n"]
    found = pages(alice, listing(sortable, sort="size", cc="n@", limit=4))
    assert [uid for page in found for uid in page] == filtered


# ---- what is shown ----


def test_fields(alice: Client, two: str) -> None:
    body = good(alice.get(listing(two, fields="uid,subject,from")))
    assert body["messages"][1] == {
        "uid": 1,
        "subject": "Quarterly résumé",
        "from": [{"name": "Ann Keller", "email": "ann@example.test"}],
    }
    assert set(body) == {"messages", "total", "uidValidity", "state"}


def test_only_what_is_asked_for_is_fetched(start_gateway: StartGateway) -> None:
    with Dovecot(users={"alice": "secret"}, options=Options(rawlog=True)) as server:
        mailbox = new_mailbox(server, [ONE, TWO])
        gateway = start_gateway(*tls_options(server))
        client = gateway.client("alice", "secret")
        assert uids(client.get(listing(mailbox, fields="uid,keywords"))) == [2, 1]
        gateway.stop()
        server.wait_for_log("Logged out(.|\n)*Logged out")
        sent = server.rawlog("alice")
    fetches = [line for line in sent.splitlines() if b" FETCH " in line]
    assert fetches, sent
    for word in (b"ENVELOPE", b"BODY", b"RFC822", b"INTERNALDATE", b"PREVIEW"):
        assert not any(word in line for line in fetches), fetches


def test_preview_and_bodies(alice: Client, two: str) -> None:
    body = good(alice.get(listing(two, preview=1, fields="uid,preview")))
    assert body["messages"] == [{"uid": 2, "preview": "See file."}, {"uid": 1, "preview": "The walrus said: façade."}]
    for wish in ("text", "html", "text,html", "html,text"):
        messages = good(alice.get(listing(two, body=wish, fields="uid")))["messages"]
        assert messages[1] == {
            "uid": 1,
            "bodyValues": {
                "1": {"value": "The walrus said: façade.\r\n", "isTruncated": False, "isEncodingProblem": False}
            },
        }
    cut = good(alice.get(listing(two, body="text", maxBodyValueBytes=21, uid=1, fields="uid")))["messages"][0]
    # 21 would end inside ç
    assert cut["bodyValues"]["1"] == {"value": "The walrus said: fa", "isTruncated": True, "isEncodingProblem": False} or (
        cut["bodyValues"]["1"]["value"] == "The walrus said: faç"
    )
    assert len(cut["bodyValues"]["1"]["value"].encode()) <= 21
    both = good(alice.get(listing(two, body=["text", "walrus"], fields="uid")))["messages"]
    assert [message["uid"] for message in both] == [1] and "1" in both[0]["bodyValues"]


def test_text_and_html_of_an_alternative(demo: Client) -> None:
    target = "/messages?mailbox=INBOX&uid=14&fields=uid&body="
    text = good(demo.get(target + "text"))["messages"][0]["bodyValues"]
    html = good(demo.get(target + "html"))["messages"][0]["bodyValues"]
    both = good(demo.get(target + "text,html"))["messages"][0]["bodyValues"]
    assert set(text) == {"1"} and "<p>" not in text["1"]["value"]
    assert set(html) == {"2.1"} and html["2.1"]["value"].startswith("<p>")
    assert both == text | html


# ---- freshness ----


@pytest.mark.parametrize("query", ["", "?seen=0", "?sort=size"])
def test_etag_and_a_second_client(alice: Client, mail_server: ImapServer, query: str) -> None:
    mailbox = new_mailbox(mail_server, map(seed.plain, range(6)))
    target = listing(mailbox) + query
    first = alice.get(target)
    etag = first.header("ETag")
    assert etag and alice.get(target).header("ETag") == etag
    for tags in (etag, f'"x", {etag}', "*", etag.removeprefix("W/")):
        again = alice.get(target, {"If-None-Match": tags})
        assert again.status == 304 and again.body == b"" and again.header("ETag") == etag
    assert alice.get(target, {"If-None-Match": '"x"'}).status == 200
    with second_client(mail_server, mailbox) as other:
        store(other, "4", "+FLAGS", "\\Flagged")  # which is not seen
        changed = alice.get(target, {"If-None-Match": etag})
        assert changed.status == 200 and changed.header("ETag") != etag
        message = next(m for m in changed.json()["messages"] if m["uid"] == 4)
        assert message["keywords"].get("$flagged") is True
        seed.append(other, mailbox, [seed.Message(seed.plain(50).raw)])
        arrived = alice.get(target, {"If-None-Match": changed.header("ETag") or ""})
        assert arrived.status == 200 and 7 in uids(arrived)
        expunge(other, [7])
        left = alice.get(target, {"If-None-Match": arrived.header("ETag") or ""})
        assert left.status == 200 and 7 not in uids(left)


def test_state_is_that_of_the_mailbox(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, map(seed.plain, range(3)))
    states = [good(alice.get(listing(mailbox)))["state"]]
    assert states[0] == good(alice.get(f"/mailboxes/{segment(mailbox)}"))["state"]
    with second_client(mail_server, mailbox) as other:
        store(other, "1", "+FLAGS", "\\Answered")
        states.append(good(alice.get(listing(mailbox)))["state"])
        seed.append(other, mailbox, [seed.plain(9)])
        states.append(good(alice.get(listing(mailbox)))["state"])
        expunge(other, [2])
        states.append(good(alice.get(listing(mailbox)))["state"])
    assert len(set(states)) == (4 if mail_server.can("CONDSTORE") else 1)
    assert states[3] == good(alice.get(f"/mailboxes/{segment(mailbox)}"))["state"]


def test_lists_do_not_mark_as_seen(alice: Client, mail_server: ImapServer) -> None:
    mailbox = new_mailbox(mail_server, [seed.Message(seed.plain(n).raw) for n in range(3)])
    alice.get(listing(mailbox, preview=1, body="text,html"))
    alice.get(listing(mailbox, body="Hello", sort="subject"))
    with second_client(mail_server, mailbox) as other:
        assert all("\\Seen" not in flags_of(other, uid) for uid in (1, 2, 3))


def test_pretty(alice: Client, two: str) -> None:
    compact, indented = alice.get(listing(two)), alice.get(listing(two, pretty=1))
    assert compact.json() == indented.json()
    assert b"\n  " in indented.body and compact.body.count(b"\n") == 1


# ---- bad input ----

BAD = [
    ("limit=0", "limit"),
    ("limit=1001", "limit"),
    ("limit=-1", "limit"),
    ("limit=ten", "limit"),
    ("limit=1.0", "limit"),
    ("limit=", "limit"),
    ("limit=99999999999999999999", "limit"),
    ("limit=5&limit=6", "limit"),
    ("limit=201&body=text", "limit"),
    ("sort=date", "date"),
    ("sort=-", "sort"),
    ("sort=subject,", "sort"),
    ("sort=Subject", "Subject"),
    ("sort=" + ",".join(["size"] * 9), "sort"),
    ("fields=uid,colour", "colour"),
    ("fields=UID", "UID"),
    ("fields=headers", "headers"),
    ("fields=bodyValues", "bodyValues"),
    ("seen=2", "seen"),
    ("seen=yes", "seen"),
    ("seen=1&seen=0", "seen"),
    ("flagged=x", "flagged"),
    ("answered=x", "answered"),
    ("draft=x", "draft"),
    ("hasAttachment=maybe", "hasAttachment"),
    ("preview=2", "preview"),
    ("pretty=2", "pretty"),
    ("from=", "from"),
    ("subject=", "subject"),
    ("body=", "body"),
    ("messageId=", "messageId"),
    ("header=", "header"),
    ("header=:x", "header"),
    ("header=A%20B:x", "header"),
    ("header=A%0D%0AB:x", "header"),
    ("keyword=", "keyword"),
    ("keyword=a%20b", "keyword"),
    ("keyword=%5CSeen", "keyword"),
    ("keyword=(x", "keyword"),
    ("notKeyword=x%22", "notKeyword"),
    ("before=yesterday", "before"),
    ("before=2024-02-30", "before"),
    ("after=2024-1-1", "after"),
    ("after=2024-01-01T00:00:00", "after"),
    ("sentBefore=2024-13-01", "sentBefore"),
    ("sentAfter=", "sentAfter"),
    ("minSize=-1", "minSize"),
    ("maxSize=big", "maxSize"),
    ("changedSince=x", "changedSince"),
    ("changedSince=-1", "changedSince"),
    ("threadId=", "threadId"),
    ("uid=0", "uid"),
    ("uid=x", "uid"),
    ("uid=1:2:3", "uid"),
    ("uid=1,", "uid"),
    ("uid=1;2", "uid"),
    ("uidValidity=0", "uidValidity"),
    ("uidValidity=x", "uidValidity"),
    ("maxBodyValueBytes=0", "maxBodyValueBytes"),
    ("maxBodyValueBytes=16385", "maxBodyValueBytes"),
    ("lmit=5", "limit"),
    ("Seen=1", "seen"),
    ("q=x", "q"),
    ("subject=%zz", "subject"),
    ("subject=%", "subject"),
    ("subject=%ff", "subject"),
    ("subject=a%00b", "subject"),
    ("%ff=1", "parameter"),
    ("=1", "''"),
]


@pytest.mark.parametrize(("query", "named"), BAD, ids=[query[:40] for query, _ in BAD])
def test_bad_input_is_named(alice: Client, two: str, query: str, named: str) -> None:
    for target in (f"{listing(two)}?{query}", f"/messages?mailbox={quote(two)}&{query}"):
        problem = refused(alice.get(target), 400, named)
        assert problem["type"] == "/problems/bad-request" and problem["instance"] == target


def test_too_many_parameters(alice: Client, two: str) -> None:
    refused(alice.get(f"{listing(two)}?" + "&".join(["keyword=a"] * 65)), 400, "64")
    response = alice.get(f"{listing(two)}?" + "&".join(["keyword=a"] * 201))
    assert response.status in (400, 414)


def test_several_mailboxes_are_for_later(alice: Client, two: str) -> None:
    refused(alice.get("/messages"), 422, "mailbox")
    refused(alice.get(f"/messages?mailbox={quote(two)}&mailbox=INBOX"), 422, "mailbox")
    refused(alice.get(f"{listing(two)}?mailbox=INBOX"), 400, "mailbox")
