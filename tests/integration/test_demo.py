"""./run: what stands behind it once the program is built, the demo mailbox and the gateway in front of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

from http_client import basic

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 60.0


def test_demo_serves_its_mailbox_and_ends(binary: Path) -> None:
    command = ["/usr/bin/python3", str(ROOT / "scripts" / "serve"), str(binary), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            # To the last line of the examples: communicate() below does not see what readline() has read ahead.
            said = ""
            while "Ctrl-C ends it." not in said and (line := process.stdout.readline()):
                said += line
            address = re.search(r"listening on (http://\S+)", said)
            assert address is not None and "curl -u demo:demo" in said, said
            request = urllib.request.Request(f"{address[1]}/mailboxes", headers={"Authorization": basic("demo", "demo")})
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                roles = {one["role"] for one in json.load(response)["mailboxes"]}
            assert {"inbox", "drafts", "sent", "trash"} <= roles
        finally:
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, rest
