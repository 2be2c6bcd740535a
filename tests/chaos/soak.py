"""The two soaks: does anybody ever see another's mail, and is a UID ever another message.

accounts: many accounts with a canary in everything that they have, few sessions for all of them together, clients that
leave in the midst of answers, IMAP connections that are reset, wrong passwords and new ones. races: a second client
appends, expunges, renames, removes and makes mailboxes while the gateway reads. Each answer is searched for canaries of
others, and the canary of each message must name its own UID and UIDVALIDITY.

The load is a program of its own (load/); this starts what it needs, and does what a second client would.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import os
import random
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import seed
from dovecot import Dovecot, Options, dovecot_version
from gateway import Gateway, LISTENING
from marks import without
from storm import ServerBroke

N_STATIC = 3  # mailboxes of an account whose messages do not change
N_MESSAGES = 20
BIG_EACH, BIG_RECORDS = 20, 7000  # one message of so many has an attachment of 400 KB
RACE_ACCOUNTS = 3
RACE_MAILBOXES = 3
RACE_LEAST, RACE_MOST = 60, 200  # messages of a mailbox
TOTAL_SESSIONS = 20
PASSWORD_SECONDS = 2.0  # between two changes of a password
PACE = 0.001  # between the second client's steps
LOCK_SECONDS = 1.0  # until each session of Dovecot has noticed that a mailbox has gone
# Processes are used again: a login is what the soak has the most of.
QUICK_LOGINS = """
service imap-login {
  service_count = 0
  process_min_avail = 2
}
service imap {
  service_count = 200
  process_min_avail = 8
  process_limit = 1000
}
"""


DUMP = os.environ.get("CHAOS_DUMP", "")  # a folder for what the IMAP sessions said last, when the first wrong answer came


class SoakFailed(AssertionError):
    pass


class QuietGateway(Gateway):
    """Keeps what it says but for the line of each exchange."""

    n_aborts = 0

    def _read_log(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        kept: deque[str] = deque(maxlen=500)
        for line in self._process.stderr:
            if " info " in line and " http " in line:
                continue
            kept.append(line)
            self._lines = list(kept)
            match = LISTENING.search(line)
            if match is not None and self.port == 0:
                self.host, self.port = match[1].strip("[]"), int(match[2])
                self._is_known.set()
        self._is_known.set()


def canary(account: int, uidvalidity: int, uid: int, secret: str) -> str:
    return f"QC{account:04d}-{uidvalidity:010d}-{uid:010d}-{secret}CQ"


def message(mark: str, n_records: int) -> bytes:
    """The canary in a header, in the text, in the attachment and in its name."""
    record = (mark + " " * 16 + "\r\n").encode()
    assert len(record) == 57  # a line of base64
    encoded = base64.encodebytes(record * n_records).replace(b"\n", b"\r\n")
    return (
        f"From: {mark} <a@example.test>\r\nTo: b@example.test\r\nSubject: canary {mark}\r\nMIME-Version: 1.0\r\n"
        f"Date: Tue, 14 Nov 2023 22:15:20 +0000\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
        f"--x\r\nContent-Type: text/plain\r\n\r\n{mark}\r\n--x\r\nContent-Type: application/octet-stream; name={mark}.bin\r\n"
        f"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename={mark}.bin\r\n\r\n"
    ).encode() + encoded + b"--x--\r\n"


class Load:
    """The program in load/, and what it last said."""

    def __init__(self, binary: Path, kind: str, port: int, options: dict[str, int]) -> None:
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        words += ["--dump", DUMP] if DUMP else []
        self._process = subprocess.Popen(
            [str(binary), kind, "--server-port", str(port), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        )
        self.counts: dict[str, int] = {}
        self.errors: list[str] = []
        self._over = threading.Event()
        assert self._process.stdout is not None
        self.relay_port = int(self._process.stdout.readline().split()[1])
        for work in (self._read_counts, self._read_errors):
            threading.Thread(target=work, daemon=True).start()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def wait(self, seconds: float) -> bool:
        """True when it is over."""
        return self._over.wait(seconds)

    def end(self) -> int:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _read_counts(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            words = line.split()
            if len(words) > 1:
                self.counts = {name: int(value) for name, value in zip(words[::2], words[1::2])}
        self._over.set()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if len(self.errors) < 1000:
                self.errors.append(line)


@contextlib.contextmanager
def gateway_behind(load: Load, binary: Path, options: list[str]) -> Iterator[QuietGateway]:
    """As its own process group's: a gateway that ended by itself is a failure of the soak."""
    url = f"imap://127.0.0.1:{load.relay_port}"
    program = QuietGateway(binary, ["--imap-url", url, "--imap-security", "none", *options])
    program.start()
    try:
        yield program
    finally:
        program.kill()


def follow(load: Load, gateway: QuietGateway, step: Callable[[], None], say: Callable[[str], None], seconds: float) -> dict[str, int]:
    """Until the load is over, or something is wrong."""
    started = time.monotonic()
    while not load.wait(0.2):
        step()
        say(f"{time.monotonic() - started:.0f} s: " + " ".join(f"{name} {n}" for name, n in load.counts.items()))
        if not gateway.is_running:
            break
        if time.monotonic() - started > seconds:
            break
        if any(load.counts.get(name, 0) for name in ("foreign", "wrong", "unauthorized", "defects")):
            break
    is_alive = gateway.is_running
    status = load.end()
    counts = dict(load.counts)
    if not is_alive:
        raise SoakFailed(f"the gateway ended by itself:\n{gateway.log[-3000:]}\n{counts}")
    if status != 0:
        raise SoakFailed(f"exit {status}, {counts}\n{''.join(load.errors)[:6000]}\n{gateway.log[-1500:]}")
    if time.monotonic() - started > seconds:
        raise SoakFailed(f"not through after {seconds:g} s: {counts}")
    counts["seconds"] = round(time.monotonic() - started)
    return counts


# ---- accounts ----


def fill_account(port: int, user: str, password: str, account: int, secret: str) -> list[str]:
    """What the load is to know of it."""
    lines = [f"account {account} {user} {password} {secret}"]
    mark = canary(account, 0, 0, secret)
    with seed.session(port, user, password) as client:
        names = [f"{n}-{mark}" for n in range(N_STATIC)]
        for name in [*names, f"W-{mark}"]:
            seed.create(client, name)
        validities = [status(client, name)[0] for name in names]
    for name, uidvalidity in zip(names, validities):
        messages = (
            seed.Message(message(canary(account, uidvalidity, uid, secret), BIG_RECORDS if uid % BIG_EACH == 0 else 2))
            for uid in range(1, N_MESSAGES + 1)
        )
        seed.append_many(port, user, password, name, messages)
        lines.append(f"mailbox {name} {uidvalidity} {N_MESSAGES}")
    lines.append(f"mailbox W-{mark} 0 1")
    return lines


def status(client: imaplib.IMAP4, mailbox: str) -> tuple[int, int]:
    """UIDVALIDITY and UIDNEXT."""
    kind, data = client.status(seed.quoted(mailbox), "(UIDVALIDITY UIDNEXT)")
    numbers = dict(re.findall(r"(UIDVALIDITY|UIDNEXT) (\d+)", (data[0] or b"").decode())) if kind == "OK" else {}
    if len(numbers) != 2:
        raise Odd(f"no STATUS of {mailbox}")
    return int(numbers["UIDVALIDITY"]), int(numbers["UIDNEXT"])


def run_accounts(
    binary: Path,
    load_binary: Path,
    *,
    seed_number: int,
    n_responses: int,
    n_accounts: int = 60,
    n_connections: int = 48,
    cancels_per_mille: int = 105,
    resets_per_mille: int = 11,
    say: Callable[[str], None] = lambda text: None,
    seconds: float = 4 * 3600,
) -> dict[str, int]:
    rng = random.Random(seed_number)
    # Two and two have the same password: it is the name that tells them apart.
    users = {f"user{n}": f"pw{n // 2}-{seed_number}" for n in range(n_accounts)}
    # Answers to a plain SEARCH do not say whose they are.
    options = Options(max_userip_connections=200, extra=QUICK_LOGINS, auth_mechanisms="plain", capability=without("ESEARCH"))
    with Dovecot(users=users, options=options) as dovecot:
        lines = []
        for n, (user, password) in enumerate(users.items()):
            lines += fill_account(dovecot.imap_port, user, password, n, f"{rng.randrange(1 << 32):08x}")
            say(f"account {n} filled")
        goals = {
            "seed": seed_number, "responses": n_responses, "fetches": n_responses, "cancels": cancels_per_mille,
            "resets": resets_per_mille, "connections": n_connections, "hot": max(2, n_accounts // 7),
        }
        load = Load(load_binary, "accounts", dovecot.imap_port, goals)
        limits = ["--imap-sessions", str(min(TOTAL_SESSIONS, n_accounts // 2)), "--imap-sessions-per-account", "2"]
        with gateway_behind(load, binary, limits) as gateway:
            for line in lines:
                load.tell(line)
            load.tell(f"gateway {gateway.port}")
            changed = [time.monotonic(), 0.0]

            def step() -> None:
                if time.monotonic() - changed[0] >= PASSWORD_SECONDS:
                    changed[0] = time.monotonic()
                    changed[1] += 1
                    n = rng.randrange(n_accounts)
                    new = f"pw{n}-{rng.randrange(10**6)}"
                    dovecot.set_password(f"user{n}", new)
                    load.tell(f"password {n} {new}")

            counts = follow(load, gateway, step, say, seconds)
            counts["logins"] = dovecot.log().count("Login: user=")
            counts["passwords changed"] = int(changed[1])
            return counts


# ---- races ----


class Odd(Exception):
    """Something that is Dovecot's own affair."""


class Racer(threading.Thread):
    """The second client of one account: each message that it appends names the UID that it will have.

    Messages are marked as deleted from the first. A Maildir's file has another name when its keywords are others, or it is
    seen the first time, and whoever lists the folder meanwhile may miss it: Dovecot takes it for expunged, and gives it
    another UID when it is there again.
    """

    def __init__(self, port: int, user: str, password: str, account: int, secret: str, names: list[str], seed_number: int) -> None:
        super().__init__(daemon=True)
        self.account, self.secret, self.names = account, secret, names
        self.n_steps = self.n_odd = self._n_gone = 0
        self.failure: BaseException | None = None
        self._rng = random.Random(seed_number * 1000 + account)
        self._login = (port, user, password)
        self._connect()
        self._next: dict[str, tuple[int, int]] = {}
        self._uids: dict[str, list[int]] = {}
        self._is_over = threading.Event()
        for name in names:
            self._make(name)

    def stop(self) -> None:
        self._is_over.set()
        self.join(60)
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        try:
            while not self._is_over.is_set():
                try:
                    self._step()
                except (Odd, imaplib.IMAP4.abort, OSError) as error:
                    self._recover(error)
                self.n_steps += 1
                time.sleep(PACE)
        except BaseException as error:  # noqa: BLE001
            self.failure = error

    def _connect(self) -> None:
        port, user, password = self._login
        self._client = imaplib.IMAP4("127.0.0.1", port, timeout=60)
        self._client.login(user, password)

    def _recover(self, error: Exception) -> None:
        """Dovecot's processes break now and then when mailboxes come and go. What is there then is not known: all anew."""
        self.n_odd += 1
        for _ in range(20):
            try:
                with contextlib.suppress(imaplib.IMAP4.error, OSError):
                    self._client.shutdown()
                self._connect()
                for name in self.names:
                    self._anew(name)
                return
            except (Odd, imaplib.IMAP4.abort, OSError) as again:
                error = again
        raise ServerBroke(f"Dovecot refuses the second client: {error}")

    def _step(self) -> None:
        name = self._rng.choice(self.names)
        what = self._rng.random()
        n = len(self._uids[name])
        if what < 0.002:
            self._anew(name)
        elif n < RACE_MOST and (what < 0.55 or n < RACE_LEAST):
            self._append(name)
        else:
            self._expunge(name)

    def _do(self, result: tuple[str, list[object]]) -> list[object]:
        if result[0] != "OK":
            raise Odd(str(result))
        return result[1]

    def _make(self, name: str) -> None:
        self._do(self._client.create(name))
        self._do(self._client.select(name))  # a Maildir has no UIDVALIDITY before
        self._do(self._client.unselect())
        self._next[name] = status(self._client, name)
        if self._next[name][0] == 0 or self._next[name][1] != 1:
            raise Odd(f"{name} is new, and UIDVALIDITY and UIDNEXT are {self._next[name]}")
        self._uids[name] = []
        for _ in range(RACE_LEAST):
            self._append(name)

    def _append(self, name: str) -> None:
        uidvalidity, uid = self._next[name]
        raw = message(canary(self.account, uidvalidity, uid, self.secret), self._rng.choice((1, 2, 300)))
        told = str(self._do(self._client.append(name, "(\\Deleted)", None, raw))[0])  # type: ignore[arg-type]
        if f"APPENDUID {uidvalidity} {uid}]" not in told:
            raise ServerBroke(f"Dovecot gave another UID than the next, {uidvalidity} {uid}: {told}")
        self._next[name] = (uidvalidity, uid + 1)
        self._uids[name].append(uid)

    def _expunge(self, name: str) -> None:
        gone = self._rng.sample(self._uids[name], min(len(self._uids[name]), self._rng.choice((1, 1, 3, 8))))
        which = ",".join(map(str, gone))
        self._do(self._client.select(name))
        self._do(self._client.uid("EXPUNGE", which))
        self._do(self._client.unselect())
        self._uids[name] = [uid for uid in self._uids[name] if uid not in gone]

    def _anew(self, name: str) -> None:
        """Another mailbox under the same name: UIDs begin at 1 again, under another UIDVALIDITY.

        Two that change their names are more than Dovecot 2.3 can do under open sessions: it gives UIDs of the one in the other.
        So it does when a session that has the old one open comes to the new one, which is the same folder for it. The file
        that is a session's lock remains in the old one, and who deletes that waits two minutes for nobody: it stays.
        """
        self._n_gone += 1
        if self._client.rename(name, f"gone{self._n_gone}")[0] != "OK":
            self._client.delete(name)  # unless it had gone before
        time.sleep(LOCK_SECONDS)
        self._make(name)


def run_races(
    binary: Path,
    load_binary: Path,
    *,
    seed_number: int,
    n_fetches: int,
    n_connections: int = 24,
    say: Callable[[str], None] = lambda text: None,
    seconds: float = 4 * 3600,
) -> dict[str, int]:
    users = {f"racer{n}": f"pw{n}" for n in range(RACE_ACCOUNTS)}
    names = [f"Box{n}" for n in range(RACE_MAILBOXES)]
    # Dovecot 2.3 breaks its indexes when mailboxes come and go under open sessions, and mdbox and sdbox give UIDs twice:
    # a Maildir, whose indexes are each session's own.
    extra = QUICK_LOGINS + "mailbox_list_index = no\n"
    extra += "mail_index_path = MEMORY\n" if dovecot_version() >= (2, 4) else "mail_location = maildir:~/mail:INDEX=MEMORY\n"
    options = Options(max_userip_connections=200, extra=extra, auth_mechanisms="plain", mail_format="maildir")
    with Dovecot(users=users, options=options) as dovecot:
        racers = []
        lines = []
        for n, (user, password) in enumerate(users.items()):
            secret = f"{random.Random(seed_number + n).randrange(1 << 32):08x}"
            racers.append(Racer(dovecot.imap_port, user, password, n, secret, names, seed_number))
            lines += [f"account {n} {user} {password} {secret}", *(f"mailbox {name} 0 0" for name in names)]
        goals = {"seed": seed_number, "responses": 0, "fetches": n_fetches, "cancels": 50, "resets": 2, "connections": n_connections, "hot": RACE_ACCOUNTS}
        load = Load(load_binary, "races", dovecot.imap_port, goals)
        with gateway_behind(load, binary, ["--imap-sessions-per-account", "4"]) as gateway:
            for line in lines:
                load.tell(line)
            for racer in racers:
                racer.start()
            load.tell(f"gateway {gateway.port}")
            try:
                counts = follow(load, gateway, lambda: check_racers(racers), say, seconds)
            finally:
                for racer in racers:
                    racer.stop()
            counts["second client"] = sum(racer.n_steps for racer in racers)
            counts["second client began anew"] = sum(racer.n_odd for racer in racers)
            return counts


def check_racers(racers: list[Racer]) -> None:
    for racer in racers:
        if racer.failure is not None:
            raise racer.failure


def load_program(root: Path) -> Path:
    return Path(os.environ.get("CHAOS_LOAD", root / "build" / "release" / "chaos_load")).resolve()
