"""openapi.yaml against the running program: what it promises is there, and what is there it tells."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any
from urllib.parse import quote, unquote

import pytest
import seed
from conftest import StartGateway, tls_options
from gateway import Gateway
from http_client import Client, Response, basic
from imap_server import ImapServer
from openapi_check import ROOT, Description, Operation, with_stranger
from proxy import wait_for

DESCRIPTION = Description.load()
OPERATIONS = list(DESCRIPTION.operations())
PATCH = b'{"keywords":{"$flagged":true}}'
COPY = b'{"mailbox":"{prefix}Trash"}'
JSON = {"Content-Type": "application/json"}
RFC822 = {"Content-Type": "message/rfc822"}
MBOX = {"Content-Type": "application/mbox"}
NUMBERS = itertools.count(1)

# For each operation without its "Short", targets on the demo mailbox that must be answered with 2xx.
TARGETS: dict[str, list[str]] = {
    "getService": ["/", "/?pretty=1"],
    "getDescription": ["/openapi.yaml"],
    "getHealth": ["/healthz"],
    "getReadiness": ["/readyz"],
    "listMailboxes": ["/mailboxes", "/mailboxes?counts=0", "/mailboxes?role=sent&fields=name,role", "/mailboxes?pretty=1"],
    "getMailbox": ["/mailboxes/INBOX", "/mailboxes/@junk", "/mailboxes/{prefix}R%C3%A9sum%C3%A9s", "/mailboxes/{prefix}Work?fields=state"],
    "createMailbox": ["/mailboxes", "/mailboxes?fields=name,href&pretty=1"],
    "patchMailbox": ["/mailboxes/{prefix}R%C3%A9sum%C3%A9s", "/mailboxes/@junk?fields=isSubscribed", "/mailboxes/@sent"],
    "deleteMailbox": ["/mailboxes/{prefix}OpenAPI%20gone"],
    "getChanges": ["/mailboxes/INBOX/changes", "/mailboxes/@sent/changes?maxChanges=5&pretty=1"],
    "getEvents": ["/events?mailbox=INBOX", "/events"],
    "listMessages": [
        "{base}",
        "{base}?limit=200&preview=1&body=text,html",
        "{base}?limit=5&sort=-size",
        "{base}?subject=porto",
        "{base}?hasAttachment=1&limit=3",
        "{base}?fields=bodyStructure,textBody,htmlBody&limit=1000",
        "{base}?uid=7&pretty=1",
        "{base}?format=ndjson&preview=1&limit=20",
        "{base}?format=mbox&limit=3",
        "{base}?format=zip&subject=porto",
    ],
    "patchMessages": ["{base}?subject=nonesuch-anywhere", "{base}?uid=7:9,4000000000", "{base}?all=1&dryRun=1", "{base}?seen=1&uid=7&pretty=1"],
    "deleteMessages": ["{base}?subject=nonesuch-anywhere", "{base}?all=1&dryRun=1", "{base}?uid={new},4000000000", "{base}?uid={new}&permanent=1"],
    "appendMessage": ["{base}", "{base}?keywords=$seen,openapi&receivedAt=2026-01-31T12:00:00Z&pretty=1"],
    "replaceMessage": ["{base}/{new}", "{base}/{new}?keywords=openapi"],
    "getMessage": ["{base}/7", *(f"{{base}}/{uid}" for uid in range(1, 37)), "{base}/2?fields=headers"],
    "patchMessage": ["{base}/7"],
    "deleteMessage": ["{base}/{new}", "{base}/{new}?permanent=1"],
    "copyMessage": ["{base}/7/copy"],
    "getAttachments": [f"{{base}}/{uid}/attachments.zip" for uid in range(1, 37)],
    "getRaw": ["{base}/7/raw", "{base}/7/raw?download=1"],
    "getHeaders": [f"{{base}}/{uid}/headers" for uid in range(1, 37)],
    "getText": [f"{{base}}/{uid}/text" for uid in range(1, 37)],
    "getHtml": [f"{{base}}/{uid}/html" for uid in range(1, 37)],
    "getPart": ["{base}/7/parts/2", "{base}/7/parts/1?download=1", "{base}/11/parts/2", "{base}/7/parts/2?encoded=1"],
    "setKeyword": ["{base}/8/keywords/$flagged", "{base}/8/keywords/openapi"],
    "clearKeyword": ["{base}/8/keywords/openapi", "{base}/8/keywords/$flagged"],
}


@pytest.fixture(scope="module", autouse=True)
def prefix(mail_server: ImapServer) -> str:
    """What "{prefix}" stands for in the tables: mailboxes are below it."""
    Named.prefix = mail_server.prefix
    return mail_server.prefix


class Named:
    prefix = ""


def usual_status(server: ImapServer, operation: Operation, target: str) -> tuple[int, ...]:
    """What a good request is answered with."""
    name = operation.name.removesuffix("Short")
    created = {"createMailbox": 201, "copyMessage": 201, "appendMessage": 201, "replaceMessage": 201, "deleteMailbox": 204, "deleteMessage": 204}
    if not server.keeps_keywords and re.search(r"[?/&]keywords[=/](\$seen,)?[a-z]", unquote(target)):
        return (422,)
    if not server.can("UIDPLUS"):
        if operation.method == "DELETE" and "permanent=1" in target:
            return (422,)
        # What is replaced or deleted remains, marked.
        if name == "replaceMessage":
            return (201, 410) if server.settles_late else (201,)
        if name == "deleteMessage":
            return (200,)
    return (created.get(name, 200),)


def named(text: str) -> str:
    return text.replace("{prefix}", Named.prefix)


def named_in(body: bytes | None) -> bytes | None:
    return body and named(body.decode("latin-1")).encode("latin-1")


def fill(operation: Operation, target: str) -> str:
    return named(fill_in(operation, target))


def fill_in(operation: Operation, target: str) -> str:
    """A target of the table for the long or the short address. "{new}" is a message that may go."""
    mailbox = "{prefix}Drafts" if "{new}" in target or operation.name.startswith("append") else "INBOX"
    if not operation.name.endswith("Short"):
        return target.replace("{base}", f"/mailboxes/{mailbox}/messages")
    target = target.replace("{base}", "/messages")
    is_list = operation.name in ("listMessagesShort", "patchMessagesShort", "deleteMessagesShort", "appendMessageShort")
    return target + ("&" if "?" in target else "?") + f"mailbox={mailbox}" if is_list or "/7" in target or "{new}" in target else target


def newest(client: Client, headers: dict[str, str] | None) -> int:
    """Where the server does not tell the UID of a copy."""
    listed = client.request("GET", "/mailboxes/@drafts/messages?limit=1&fields=uid", None, headers or {})
    return int(listed.json()["messages"][0]["uid"]) if listed.status == 200 else 1


def send(client: Client, operation: Operation, target: str, headers: dict[str, str] | None = None) -> Response:
    body = PATCH if operation.method == "PATCH" else named_in(COPY) if operation.path.endswith("/copy") else None
    if "{new}" in target:
        copy = client.request("POST", "/messages/8/copy", named_in(b'{"mailbox":"{prefix}Drafts"}'), JSON)
        assert copy.status in (201, 401), copy.body
        target = target.replace("{new}", str(copy.json().get("uid") or newest(client, headers)))
    type_ = JSON
    if operation.name.startswith(("appendMessage", "replaceMessage")):
        body, type_ = b"Subject: OpenAPI\r\n\r\nHi\r\n", RFC822
    if operation.name == "createMailbox":
        body = json.dumps({"name": named(f"{{prefix}}OpenAPI {next(NUMBERS)}"), "role": None, "isSubscribed": True}).encode()
    elif operation.name == "patchMailbox":  # other tests look at who is subscribed: to what it is already
        listed = client.request("GET", target.partition("?")[0], None, {})
        body = json.dumps({"isSubscribed": listed.json().get("isSubscribed", True)}).encode()
    elif operation.name == "deleteMailbox":  # what is to go is there (again)
        client.request("POST", "/mailboxes", named_in(b'{"name":"{prefix}OpenAPI gone"}'), JSON)
    if operation.name == "getEvents":  # which has no end
        stream = client.open(operation.method, target, headers=headers)
        if stream.status == 200:
            head = Response(stream.status, stream.getheaders(), b"")
            client.close()
            return head
        return Response(stream.status, stream.getheaders(), stream.read())
    response = client.request(operation.method, target, body, (type_ if body else {}) | (headers or {}))
    if operation.name == "createMailbox" and response.status == 201:
        assert client.delete(response.header("Location") or "").status == 204
    elif operation.name == "deleteMailbox" and response.status != 204:
        # Cyrus deletes no two mailboxes of one name within a second: 409.
        gone = named("/mailboxes/{prefix}OpenAPI%20gone")
        wait_for(lambda: client.delete(gone).status != 409, "the end of a mailbox")
    return response


def test_composed(demo: Client) -> None:
    """Examples of descriptions are taken, and what is not taken is refused as the file says."""
    bodies = DESCRIPTION.document["components"]["requestBodies"]["Message"]["content"]
    target = named("/mailboxes/{prefix}Drafts/messages")
    for type_ in ("application/json", "application/merge-patch+json"):
        response = demo.request("POST", target, json.dumps(bodies[type_]["example"]).encode(), {"Content-Type": type_})
        assert response.status == 201, response.body
        DESCRIPTION.reply("POST", target, response)
    fields = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in bodies["multipart/form-data"]["example"].items()
    )
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    response = demo.request("POST", target, f"{fields}--b--\r\n".encode(), form)
    assert response.status == 201, response.body
    refusals = [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b'{"sbuject":"x"}', JSON, 400),
        (b"--b--", {"Content-Type": "multipart/form-data"}, 415),
        (b'{"attachments":[{"source":{"mailbox":"INBOX","uid":4000000}}]}', JSON, 404),
        (b'{"attachments":[{"source":{"mailbox":"INBOX","uid":1,"uidValidity":1}}]}', JSON, 410),
    ]
    for body, headers, status in refusals:
        response = demo.request("POST", target, body, headers)
        assert response.status == status, response.body
        DESCRIPTION.reply("POST", target, response)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_operation(demo: Client, demo_mailbox: ImapServer, operation: Operation) -> None:
    """Every operation of the file, asked for real."""
    is_settled = not (demo_mailbox.settles_late and operation.name == "listMailboxes")
    for target in TARGETS[operation.name.removesuffix("Short")]:
        target = fill(operation, target)
        response = send(demo, operation, target)
        assert response.status in usual_status(demo_mailbox, operation, target), f"{target}: {response.body!r}"
        assert DESCRIPTION.reply(operation.method, target, response).name == operation.name
        if operation.method == "GET":
            head = demo.head(target)
            DESCRIPTION.reply("HEAD", target, head)
            assert head.status == response.status
            assert head.header("ETag") == response.header("ETag") or not is_settled
        etag = response.header("ETag")
        if operation.method == "GET" and etag and is_settled:
            again = demo.get(target, {"If-None-Match": etag})
            assert again.status == 304, target
            DESCRIPTION.reply("GET", target, again)


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if "security" not in one.body], ids=lambda one: one.name)
def test_credential_is_needed(anybody: Client, demo_mailbox: ImapServer, operation: Operation) -> None:
    target = fill(operation, TARGETS[operation.name.removesuffix("Short")][0])
    wrong = [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic !"}]
    if operation.name == "listMailboxes":  # which takes Dovecot a while to say
        wrong.append({"Authorization": basic("demo", "wrong")})
    for headers in wrong:
        response = send(anybody, operation, target, headers)
        assert response.status == 401
        DESCRIPTION.reply(operation.method, target, response)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_query_parameters(demo: Client, demo_mailbox: ImapServer, operation: Operation) -> None:
    """Those of the operation are taken, all others of the file and strangers are refused by name."""
    everywhere = {p["name"]: p for o in OPERATIONS for p in DESCRIPTION.parameters(o) if p["in"] == "query"}
    own = {p["name"]: p for p in DESCRIPTION.parameters(operation) if p["in"] == "query"}
    target = fill(operation, TARGETS[operation.name.removesuffix("Short")][0])
    for name in (*everywhere, "nonesuch", "Pretty"):
        if name == "mailbox" and name in own:
            continue
        parameter = own.get(name)
        value = quote(sample(parameter), safe="") if parameter else "1"
        asked = f"{target}{'&' if '?' in target else '?'}{name}={value}"
        response = send(demo, operation, asked)
        DESCRIPTION.reply(operation.method, asked, response)
        if parameter:
            # These values are good ones, but need not fit this server or mailbox.
            others = {"uidValidity": 410, "since": 410, "cursor": 400}
            if not demo_mailbox.can("OBJECTID"):
                others |= {"threadId": 422}
            if not demo_mailbox.can("CONDSTORE"):
                others |= {"changedSince": 422, "unchangedSince": 422}
            expected = (others[name],) if name in others else usual_status(demo_mailbox, operation, asked)
            assert response.status in expected, f"{asked}: {response.body!r}"
        else:
            assert response.status == 400 and name in response.json()["detail"], f"{asked}: {response.body!r}"


def sample(parameter: dict[str, Any]) -> str:
    schema = DESCRIPTION.resolve(parameter["schema"])
    fixed = {"cursor": "1.1.1.1", "threadId": "T1", "markSeen": "0"}
    if parameter["name"] in fixed:
        return fixed[parameter["name"]]
    value = parameter.get("example", schema.get("default"))
    if value is None and "examples" in parameter:
        value = next(iter(parameter["examples"].values()))["value"]
    if value is None and "examples" in schema:
        value = schema["examples"][0]
    if value is None:
        items = DESCRIPTION.resolve(schema.get("items", {}))
        value = {"integer": 5, "array": [items.get("examples", ["x"])[0]]}.get(schema["type"]) or schema["enum"][0]
    if isinstance(value, list):
        return (",").join(value) if parameter.get("explode") is False else value[0]
    return str(value)


PROBLEMS: list[tuple[int, str, str, dict[str, str], bytes | None]] = [
    (400, "GET", "/mailboxes?role=postmaster", {}, None),
    (400, "GET", "/healthz?x=1", {}, None),
    (400, "GET", "/messages?mailbox=INBOX&limit=0", {}, None),
    (400, "GET", "/messages/0", {}, None),
    (400, "GET", "/messages/7/parts/x", {}, None),
    (400, "GET", "/messages/%zz", {}, None),
    (400, "POST", "/mailboxes", JSON, b'{"name":""}'),
    (400, "PATCH", "/mailboxes/{prefix}Work", JSON, b'{"role":null}'),
    (400, "PATCH", "/mailboxes/INBOX/messages", JSON, PATCH),
    (400, "DELETE", "/mailboxes/INBOX/messages?permanent=1", {}, None),
    (400, "DELETE", "/mailboxes/INBOX/messages?seen=1&body=text", {}, None),
    (400, "PATCH", "/mailboxes/INBOX/messages?seen=1", JSON | {"If-Match": '"1.7.1"'}, PATCH),
    (404, "PATCH", "/mailboxes/INBOX/messages?uid=7", JSON, b'{"mailbox":"{prefix}Nowhere"}'),
    (410, "DELETE", "/mailboxes/INBOX/messages?seen=1&uidValidity=1", {}, None),
    (400, "PATCH", "/messages/7", JSON, b"{"),
    (400, "PATCH", "/messages/7", JSON, b'{"keyword":{}}'),
    (403, "PUT", "/messages/7/keywords/$seen", {"Origin": "https://elsewhere.example"}, None),
    (404, "GET", "/mailboxes/{prefix}Nowhere", {}, None),
    (404, "GET", "/mailboxes/{prefix}Nowhere/messages", {}, None),
    (400, "GET", "/mailboxes/INBOX/changes?since=1", {}, None),
    (400, "GET", "/mailboxes/INBOX/changes?wait=301", {}, None),
    (404, "GET", "/mailboxes/{prefix}Nowhere/changes", {}, None),
    (410, "GET", "/mailboxes/INBOX/changes?since=q1.1.1", {}, None),
    (400, "GET", "/events?mailbox=", {}, None),
    (404, "GET", "/events?mailbox={prefix}Nowhere", {}, None),
    (406, "GET", "/events", {"Accept": "application/json"}, None),
    (404, "GET", "/mailboxes/@flagged", {}, None),
    (404, "GET", "/messages/4000000000", {}, None),
    (404, "GET", "/messages/4000000000/raw", {}, None),
    (404, "GET", "/messages/4000000000/headers", {}, None),
    (404, "GET", "/messages/4000000000/text", {}, None),
    (404, "GET", "/messages/7/parts/9", {}, None),
    (404, "PATCH", "/messages/4000000000", JSON, PATCH),
    (404, "DELETE", "/messages/4000000000/keywords/$seen", {}, None),
    (404, "DELETE", "/messages/4000000000", {}, None),
    (404, "POST", "/messages/4000000000/copy", JSON, COPY),
    (404, "POST", "/messages/7/copy", JSON, b'{"mailbox":"{prefix}Nowhere"}'),
    (404, "PATCH", "/messages/7", JSON, b'{"mailbox":"{prefix}Nowhere"}'),
    (400, "POST", "/messages/7/copy", JSON, b'{"mailbox":"@trash","x":1}'),
    (400, "DELETE", "/messages/7?permanent=maybe", {}, None),
    (412, "DELETE", "/messages/7", {"If-Match": '"1.7.1"'}, None),
    (415, "POST", "/messages/7/copy", {"Content-Type": "text/plain"}, COPY),
    (400, "POST", "/messages", RFC822, b""),
    (400, "POST", "/messages", MBOX, b"Subject: x\r\n\r\nHi\r\n"),
    (400, "POST", "/messages", RFC822 | {"Idempotency-Key": "a b"}, b"x"),
    (404, "POST", "/mailboxes/{prefix}Nowhere/messages", MBOX, b"From x\n"),
    (404, "PUT", "/messages/4000000000", RFC822, b"x"),
    (412, "PUT", "/messages/7", RFC822 | {"If-Match": '"1.7.1"'}, b"x"),
    (415, "PUT", "/messages/7", MBOX, b"x"),
    (400, "POST", "/messages?keywords=(", RFC822, b"x"),
    (400, "POST", "/messages?receivedAt=now", RFC822, b"x"),
    (404, "POST", "/mailboxes/{prefix}Nowhere/messages", RFC822, b"x"),
    (410, "POST", "/messages?uidValidity=1", RFC822, b"x"),
    (415, "POST", "/messages", {"Content-Type": "application/octet-stream"}, b"x"),
    (415, "POST", "/messages", RFC822 | {"Content-Encoding": "gzip"}, b"x"),
    (404, "PATCH", "/mailboxes/{prefix}Nowhere", JSON, b'{"name":"{prefix}Elsewhere"}'),
    (404, "DELETE", "/mailboxes/{prefix}Nowhere", {}, None),
    (409, "POST", "/mailboxes", JSON, b'{"name":"{prefix}Sent"}'),
    (409, "PATCH", "/mailboxes/{prefix}Work", JSON, b'{"name":"{prefix}Sent"}'),
    (409, "DELETE", "/mailboxes/@inbox", {}, None),
    (400, "GET", "/mailboxes/INBOX/messages?format=csv", {}, None),
    (404, "GET", "/messages/4000000000/attachments.zip", {}, None),
    (404, "GET", "/mailboxes/{prefix}Nowhere/messages?format=mbox", {}, None),
    (406, "GET", "/mailboxes/INBOX/messages", {"Accept": "text/csv"}, None),
    (410, "GET", "/messages/7?uidValidity=1", {}, None),
    (410, "GET", "/messages/7/parts/2?uidValidity=1", {}, None),
    (410, "GET", "/mailboxes/INBOX/messages?uidValidity=1", {}, None),
    (410, "PUT", "/messages/7/keywords/$seen?uidValidity=1", {}, None),
    (412, "PATCH", "/messages/7", JSON | {"If-Match": '"1.7.1"'}, PATCH),
    (412, "PUT", "/messages/7/keywords/$seen", {"If-Match": '"1.7.1"'}, None),
    (412, "PATCH", "/mailboxes/{prefix}Work", JSON | {"If-Match": '"x"'}, b'{"isSubscribed":true}'),
    (412, "DELETE", "/mailboxes/{prefix}Work", {"If-Match": '"x"'}, None),
    (413, "PATCH", "/messages/7", JSON, b" " * 1_100_000 + PATCH),
    (414, "GET", "/messages/7?mailbox=" + "x" * 9000, {}, None),
    (415, "POST", "/mailboxes", {"Content-Type": "text/plain"}, b'{"name":"{prefix}x"}'),
    (415, "PATCH", "/messages/7", {"Content-Type": "text/plain"}, PATCH),
    (416, "GET", "/messages/7/raw", {"Range": "bytes=99999999-"}, None),
    (416, "GET", "/mailboxes/INBOX/messages/7/parts/2", {"Range": "bytes=99999999-"}, None),
    (422, "POST", "/mailboxes", JSON, b'{"name":"{prefix}x","role":"inbox"}'),
    (422, "GET", "/messages", {}, None),
    (422, "GET", "/messages?mailbox=INBOX&mailbox={prefix}Sent", {}, None),
    (422, "GET", "/messages?mailbox=INBOX&threadId=T1", {}, None),
    (431, "GET", "/messages/7", {f"X-Field-{n}": "x" for n in range(150)}, None),
]


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: f"{case[0]}-{case[1]}-{case[2][:50]}")
def test_problem(demo: Client, demo_mailbox: ImapServer, case: tuple[int, str, str, dict[str, str], bytes | None]) -> None:
    status, method, target, headers, body = case
    if (method, target) == ("DELETE", "/mailboxes/{prefix}Nowhere") and demo_mailbox.title == "Mailutils":
        status = 409  # "Cannot remove" is all that it says
    target, body = named(target), named_in(body)
    if "threadId" in target and demo_mailbox.can("OBJECTID"):
        assert demo.request(method, target, body, headers).status == 200
        return
    response = demo.request(method, target, body, headers)
    assert response.status == status, response.body
    DESCRIPTION.reply(method, target, response)
    problem = response.json()
    assert problem["detail"] and problem["retryable"] is False
    if status != 414 and status != 431:
        assert problem["instance"] == target
    if method == "GET" and status not in (414, 431):
        head = demo.head(target, headers)
        assert head.status == (200 if status == 416 else status)  # Range is of GET only
        DESCRIPTION.reply("HEAD", target, head)


def test_unreachable_and_silent_server(start_gateway: StartGateway, own_mail_server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(own_mail_server), "--request-timeout", "1", "--imap-connect-timeout", "1")
    client = gateway.client("alice", "secret")
    targets = ("/mailboxes", "/mailboxes/INBOX/messages", "/messages/1", "/messages/1/raw")
    wait_for(lambda: client.get("/mailboxes").status == 200, "the first answer within a second")
    own_mail_server.freeze()
    for target in targets:
        response = client.get(target)
        assert response.status == 504, response.body
        DESCRIPTION.reply("GET", target, response)
        assert response.json()["retryable"] is True
    own_mail_server.thaw()
    own_mail_server.kill()
    for target in targets:
        response = client.get(target)
        assert response.status in (502, 503), response.body
        DESCRIPTION.reply("GET", target, response)
        assert response.json()["retryable"] is True


@pytest.mark.parametrize("target", ["/nowhere", "/mailboxes/", "/messages/", "//", "/Mailboxes", "/messages/7/x"])
def test_no_such_path(demo: Client, target: str) -> None:
    for method in ("GET", "HEAD", "PUT", "OPTIONS"):
        response = demo.request(method, target)
        assert response.status == 404
        DESCRIPTION.problem(method, response)


@pytest.mark.parametrize("path", list(DESCRIPTION.document["paths"]))
def test_methods(demo: Client, path: str) -> None:
    """OPTIONS tells the methods of the file, and all others are 405."""
    names = {"mailbox": "INBOX", "uid": "7", "partId": "1", "keyword": "$seen"}
    target = re.sub(r"\{(\w+)\}", lambda match: names[match[1]], path)
    documented = {o.method for o in OPERATIONS if o.path == path}
    allowed = documented | ({"HEAD"} if "GET" in documented else set()) | {"OPTIONS"}
    options = demo.request("OPTIONS", target)
    assert options.status == 204 and options.body == b""
    assert set((options.header("Allow") or "").split(", ")) == allowed
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} - allowed:
        response = demo.request(method, target)
        assert response.status == 405, method
        assert set((response.header("Allow") or "").split(", ")) == allowed
        DESCRIPTION.problem(method, response)


def test_routes_are_those_of_the_program() -> None:
    """The route table, read from the source, against the file: neither has what the other has not."""
    source = (ROOT / "api" / "router.c").read_text()
    tables = re.findall(r"static const struct route (\w+)\[\] = \{(.*?)\n\};", source, re.S)
    assert [name for name, _ in tables] == ["routes", "message_routes"]
    served = set()
    for name, text in tables:
        rows = re.findall(r'\{"([^"]*)",\s*(?:true|false),\s*\{((?:\{API_\w+, \w+\},?\s*)+)\}\}', text)
        assert len(rows) == len(re.findall(r'\{"', text)), "a row of the table is not understood"
        for pattern, methods in rows:
            for base in ("",) if name == "routes" else ("/mailboxes/{mailbox}/messages", "/messages"):
                path = f"{base}/{pattern}" if pattern else base or "/"
                served |= {(method, path) for method in re.findall(r"API_(\w+),", methods)}
    assert served == {(operation.method, operation.path) for operation in OPERATIONS}


def test_links_lead_to_documented_paths(anybody: Client) -> None:
    links = anybody.get("/").json()["links"]
    paths = {re.sub(r"\{\?.*\}|\?.*", "", template) for template in links.values()}
    assert paths <= set(DESCRIPTION.document["paths"])
    for name, template in links.items():
        for parameters in re.findall(r"\{\?(.*)\}", template):
            operation = next(o for o in OPERATIONS if o.path == re.sub(r"\{\?.*\}", "", template))
            known = {p["name"] for p in DESCRIPTION.parameters(operation)}
            assert {parameter.rstrip("*") for parameter in parameters.split(",")} <= known, name


def test_it_is_served_as_it_stands(anybody: Client) -> None:
    response = anybody.get("/openapi.yaml")
    assert response.body == (ROOT / "openapi.yaml").read_bytes()
    version = re.search(r"project\(gatepost VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())
    assert version is not None
    assert DESCRIPTION.document["info"]["version"] == version[1] == anybody.get("/").json()["version"]


def test_examples_are_valid() -> None:
    components = DESCRIPTION.document["components"]
    for name, schema in components["schemas"].items():
        for example in schema.get("examples", []):
            DESCRIPTION.conforms(name, example)
    for name, parameter in components["parameters"].items():
        examples = [one["value"] for one in parameter.get("examples", {}).values()]
        for example in examples + ([parameter["example"]] if "example" in parameter else []):
            assert DESCRIPTION.errors(parameter["schema"], example) == [], name
    for name, header in components["headers"].items():
        if "example" in header:
            assert DESCRIPTION.errors(header["schema"], header["example"]) == [], name
    for kind in ("responses", "requestBodies"):
        for name, entry in components[kind].items():
            for content in entry.get("content", {}).values():
                if "example" in content:
                    assert DESCRIPTION.errors(content["schema"], content["example"]) == [], name


def test_no_member_goes_unnoticed(demo: Client) -> None:
    """The schemas are strict all the way down: a stranger anywhere in a reply is refused."""
    replies = [
        ("MailboxList", demo.get("/mailboxes").json()),
        ("MessageList", demo.get("/messages?mailbox=INBOX&uid=2&preview=1&body=text,html&fields=uid,from,bodyStructure,attachments").json()),
        ("Message", demo.get("/messages/2").json()),
        ("Service", demo.get("/").json()),
        ("MessageHeaders", demo.get("/messages/2/headers").json()),
        ("ChangedMessage", demo.patch("/messages/8", {}).json()),
        ("Mailbox", demo.patch("/mailboxes/@sent", {}).json()),
        ("PlacedMessage", demo.request("POST", "/messages/8/copy", named_in(COPY), JSON).json()),
        ("Problem", demo.get("/messages/4000000000").json()),
    ]
    for name, body in replies:
        DESCRIPTION.conforms(name, body)
        n_objects = 0
        for where, changed in with_stranger(body):
            n_objects += 1
            assert DESCRIPTION.errors({"$ref": f"#/components/schemas/{name}"}, changed), f"{name}: {where} takes anything"
        assert n_objects > 0


def test_all_members_come_unless_fields_picks(demo: Client) -> None:
    schemas = DESCRIPTION.document["components"]["schemas"]
    mailbox = set(schemas["Mailbox"]["properties"])
    for one in demo.get("/mailboxes").json()["mailboxes"]:
        assert set(one) == mailbox
    assert set(schemas["MailboxField"]["enum"]) == mailbox == set(demo.patch("/mailboxes/@sent", {}).json())
    base = set(schemas["MessageMembers"]["properties"])
    structure = {"bodyStructure", "textBody", "htmlBody"}
    assert set(demo.get("/messages/7").json()) == base | {"preview", "bodyValues", "headers"}
    for one in demo.get("/messages?mailbox=INBOX").json()["messages"]:
        assert set(one) == base - structure
    assert set(demo.patch("/messages/8", {}).json()) == base - structure
    listed = set(schemas["MessageListField"]["enum"])
    assert listed == base | {"preview"}
    for name in listed:
        assert [set(one) for one in demo.get(f"/messages?mailbox=INBOX&uid=7&fields={name}").json()["messages"]] == [{name}]
    for name in listed | {"bodyValues", "headers"}:
        assert set(demo.get(f"/messages/7?fields={name}").json()) == {name}
    for name in mailbox:
        assert set(demo.get(f"/mailboxes/INBOX?fields={name}").json()) == {name}


def test_empty_mailbox(gateway: Gateway, mail_server: ImapServer, alice: Client) -> None:
    with seed.session(mail_server.imap_port, "alice", "secret") as client:
        seed.create(client, mail_server.mailbox("OpenAPI empty"))
    for target in ("/mailboxes/{prefix}OpenAPI%20empty", "/mailboxes/{prefix}OpenAPI%20empty/messages", "/messages?mailbox={prefix}OpenAPI+empty"):
        target = named(target)
        response = alice.get(target)
        assert response.status == 200
        DESCRIPTION.reply("GET", target, response)


def test_ranges_are_documented(demo: Client) -> None:
    for target in ("/messages/7/raw", "/mailboxes/INBOX/messages/7/parts/2"):
        response = demo.get(target, {"Range": "bytes=0-9"})
        assert response.status == 206
        DESCRIPTION.reply("GET", target, response)


def test_writes_that_are_sent_again(demo: Client) -> None:
    """Replayed replies, and files of messages, are as described too."""
    mbox = b"From x Mon Jan  1 10:00:00 2024\nSubject: x\n\nHi\n"
    writes = [
        ("/mailboxes/@drafts/messages", RFC822, b"Subject: again\r\n\r\nHi\r\n"),
        ("/mailboxes/@drafts/messages", MBOX, mbox + b"\n" + mbox),
        ("/messages/8/copy", JSON, named_in(b'{"mailbox":"{prefix}Drafts"}')),
    ]
    for number, (target, headers, body) in enumerate(writes):
        key = headers | {"Idempotency-Key": f"openapi-{number}"}
        first, again = (demo.request("POST", target, body, key) for _ in range(2))
        assert first.status == again.status and first.body == again.body
        assert first.header("Idempotent-Replayed") is None and again.header("Idempotent-Replayed") == "true"
        other = demo.request("POST", f"{target}?pretty=1", body, key)
        assert other.status == 422
        for response in (first, again, other):
            DESCRIPTION.reply("POST", target, response)
