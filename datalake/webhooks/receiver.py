"""What is answered to a webhook, whoever serves it: judged, kept, then answered. Sockets and Lambda's events live beside it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from datalake.lake.inbox import open_inbox
from datalake.settings import SettingError, Settings
from datalake.webhooks.proof import Proof, Unproven

log = logging.getLogger(__name__)

SOURCES = ("clickup", "dialog_360")
"""Sources whose webhooks are received, each at `/<source>[/<channel>][/<token>]`."""
MOST = 3 * 1024 * 1024
"""Longest body, bytes. Meta's are far shorter."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_PART = r"[\w~-][\w.~-]{0,255}"
_PATH = re.compile(rf"/(\w+)(?:/({_PART}))?(?:/({_PART}))?/?")


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Names of `headers` are in lower case, `query` is as it stood in the address."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Address:
    source: str
    channel: str
    token: str


class Receiver:
    """Takes the webhooks of all sources that are set up. `hosts` are the names it answers to; empty: any."""

    def __init__(self, settings: Settings, hosts: tuple[str, ...]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._proofs = _proofs(settings)
        self._inboxes = {source: open_inbox(settings, source) for source in self._proofs}

    @property
    def sources(self) -> tuple[str, ...]:
        """Those that are set up."""
        return tuple(self._proofs)

    def refuse(self, call: Call) -> Reply | None:
        """The answer to a call that is refused whatever its body is; None where the body is to be read."""
        if self._hosts and _name(call.host) not in self._hosts:
            return Reply(421, "not a name of this server")
        if self._address(call.path) is None:
            return Reply(404, "no webhook is received here")
        if call.method not in ("POST", "GET"):
            return Reply(405, "send webhooks with POST", {"Allow": "GET, POST"})
        if call.headers.get("content-encoding", "identity") != "identity":
            return Reply(415, "send the body as it is, not compressed")
        length = call.headers.get("content-length", "")
        if length.isdigit() and int(length) > MOST:
            return too_long()
        return None

    def receive(self, call: Call) -> Reply:
        """The answer to a call with its body. A webhook is durable before it is answered with 200."""
        if refusal := self.refuse(call):
            return refusal
        address = self._address(call.path)
        assert address is not None
        if call.method == "GET":
            return self._handshake(address, call.query)
        if len(call.body) > MOST:
            return too_long()
        try:
            signed = self._proofs[address.source].signed(call.headers, address.token, call.body)
        except Unproven as reason:
            log.warning("%s: a webhook of %d bytes was refused: %s", address.source, len(call.body), reason)
            return Reply(401, str(reason))
        if not call.body:
            return Reply(200)  # a test of the address
        try:
            self._inboxes[address.source].put(call.body, channel=address.channel, signed=signed)
        except Exception as error:  # noqa: BLE001  whatever keeps the body from being kept, the sender must come again
            log.error("%s: a webhook could not be kept, its sender will come again: %s", address.source, error)  # noqa: TRY400  a trace might show the body
            return Reply(503, "not kept; send it again", {"Retry-After": "30"})
        return Reply(200)

    def _handshake(self, address: _Address, query: str) -> Reply:
        """Meta's question whether the address is ours; a plain GET is a look whether somebody is there."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if "hub.challenge" not in asked:
            return Reply(200)
        if asked.get("hub.mode") == "subscribe" and self._proofs[address.source].is_token(asked.get("hub.verify_token", "")):
            return Reply(200, asked["hub.challenge"][:256])
        return Reply(403, "the verify token is another one")

    def _address(self, path: str) -> _Address | None:
        match = _PATH.fullmatch(path)
        if match is None or match[1] not in self._proofs:
            return None
        source, channel, token = match[1], match[2] or "", match[3] or ""
        if not token and self._proofs[source].is_token(channel):
            channel, token = "", channel  # a secret is never kept as a name
        return _Address(source, channel, token)


def _proofs(settings: Settings) -> dict[str, Proof]:
    """Of every source that is set up. Raises SettingError where none is."""
    found, missing = {}, []
    for source in SOURCES:
        try:
            found[source] = Proof.load(settings, source)
        except SettingError as error:
            missing.append(error)
    if not found:
        raise SettingError(" ".join(map(str, missing)))
    return found


def too_long() -> Reply:
    return Reply(413, f"a webhook has at most {MOST:,} bytes")


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return re.sub(r":\d+$", "", host.strip().lower())
