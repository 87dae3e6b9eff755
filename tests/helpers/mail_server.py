"""A mail server in a process of its own: aiosmtpd with STARTTLS and AUTH.

    python -m tests.helpers.mail_server PORT FOLDER

It keeps mail in FOLDER/mail (a Maildir); FOLDER/server.pem is its certificate with the key. What
it does with a recipient depends on the name.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from tests.helpers.ports import free_port
from tests.helpers.services import await_port

USER, PASSWORD = "headwise", "p@ss/word"
ANSWERS = {
    "nobody": "550 5.1.1 No such person here",
    "busy": "451 4.3.0 Try again later",
}
"""Refused recipients."""
HANGS, SPAM = "hangs", "spam"
"""Recipients with whom the server falls silent, and whose message it refuses."""


class _Handler(Mailbox):
    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        name = address.partition("@")[0]
        if name == HANGS:
            await asyncio.Event().wait()
        if name in ANSWERS:
            return ANSWERS[name]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        if envelope.rcpt_tos[0].startswith(SPAM):
            return "554 5.7.1 This looks like spam"
        return str(await super().handle_DATA(server, session, envelope))


def _checked(
    _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword
) -> AuthResult:
    right = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


def main(port: int, folder: Path) -> None:
    """Serve until the process is ended."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    controller = Controller(
        _Handler(str(folder / "mail")),
        hostname="127.0.0.1",
        port=port,
        tls_context=context,
        require_starttls=True,
        authenticator=_checked,
        auth_required=True,
    )
    controller.start()
    controller._thread.join()


@contextmanager
def mail_server(folder: Path) -> Iterator[int]:
    """The port of a server until the end of the block; FOLDER/ca.pem vouches for it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        folder / "server.pem"
    )
    port = free_port()
    command = [sys.executable, "-m", "tests.helpers.mail_server", str(port), str(folder)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        yield port
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
