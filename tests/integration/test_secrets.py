"""What must not be written down: passwords, what is in messages, what somebody searches for."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
import seed
from conftest import StartGateway, private_server, tls_options
from http_client import basic
from imap_server import ImapServer

USER = "keeper"
PASSWORD = "Right-Canary-Horse-1"
WRONG = "Wrong-Canary-Horse-2"
SUBJECT, BODY, SEARCH = "Canary-in-the-subject", "Canary-in-the-body", "Canary-in-the-search"
MISSPELT = "Canary-in-a-header"


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with private_server({USER: PASSWORD}) as server:
        with seed.session(server.imap_port, USER, PASSWORD) as client:
            seed.append(client, "INBOX", [seed.plain(1, subject=SUBJECT, body=BODY)])
        yield server


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# Whole, and as both protocols send them; the last characters of base64 depend on what follows.
SECRETS = [
    *(PASSWORD, WRONG, SUBJECT, BODY, SEARCH, MISSPELT),
    *(encoded(f"{USER}:{password}") for password in (PASSWORD, WRONG)),
    *(encoded(f"\0{USER}\0{password}") for password in (PASSWORD, WRONG)),
]


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_holds_no_secret(start_gateway: StartGateway, server: ImapServer, form: str) -> None:
    gateway = start_gateway(*tls_options(server), "--log-level", "debug", "--log-format", form)
    client = gateway.client(USER, PASSWORD)
    for target in ("/mailboxes/INBOX/messages?preview=1", "/messages/1", "/messages/1/raw", "/messages/1/text"):
        response = client.get(target)
        assert response.status == 200 and b"Canary" in response.body, target
    assert client.get(f"/mailboxes/INBOX/messages?subject={SEARCH}").json()["messages"] == []
    draft = {"from": [{"email": "a@b.test"}], "subject": SUBJECT, "text": BODY}
    assert client.request("POST", "/mailboxes/INBOX/messages", json_body=draft).status == 201
    # What is refused is explained, but not repeated where others read it.
    assert client.get("/messages/1", {"Authorization": basic(USER, WRONG)}).status == 401
    assert client.get("/messages/1", {"Authorization": f"Bearer {MISSPELT}"}).status == 401
    assert client.get("/messages/1", {"Authorization": encoded(f"{USER}:{WRONG}")}).status == 401
    assert client.get(f"/messages/1?subjekt={SEARCH}").status == 400
    assert client.request("POST", "/mailboxes/INBOX/messages", json_body={"subjekt": SUBJECT}).status == 400
    client.close()
    gateway.stop()
    assert "status=401" in gateway.log and "AUTHENTICATE" in gateway.log, "it was written at all"
    assert [secret for secret in SECRETS if secret in gateway.log] == []
