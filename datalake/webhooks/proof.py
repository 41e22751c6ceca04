"""Who sent a webhook: the signature over its bytes where there is one, a shared secret where there is none."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from datalake.settings import SettingError, Settings

SIGNATURES = ("x-360dialog-signature", "x-hub-signature-256", "x-signature")
"""Headers with the HMAC-SHA256 of the body in hex, bare or behind `sha256=`: 360dialog's (partner hub), Meta's, ClickUp's."""


class Unproven(Exception):
    """Nothing proves the sender. The message says what was wrong, and shows no secret."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The secrets of one source, each perhaps with the one before it, which is honoured while senders change over."""

    signing: tuple[bytes, ...] = field(repr=False)
    tokens: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def load(cls, settings: Settings, source: str) -> Proof:
        """Raises SettingError where nothing could ever be proved: the receiver takes nothing from just anybody."""
        name = source.upper()

        def both(kind: str) -> tuple[bytes, ...]:
            values = (settings[f"{name}_WEBHOOK_{kind}"], settings[f"{name}_WEBHOOK_{kind}_PREVIOUS"])
            return tuple(value.encode() for value in values if value)

        proof = cls(both("SECRET"), both("TOKEN"))
        if not proof.signing and not proof.tokens:
            raise SettingError(
                f"Neither {name}_WEBHOOK_SECRET nor {name}_WEBHOOK_TOKEN is set: nobody could be told from a stranger. "
                "Set the secret that signs webhooks, or a token of your own that the address or a header carries."
            )
        return proof

    def is_token(self, text: str) -> bool:
        """Compared in constant time with each token that is honoured."""
        return any(hmac.compare_digest(token, text.encode()) for token in self.tokens)

    def signed(self, headers: Mapping[str, str], token: str, body: bytes) -> bool:
        """Whether a signature proved the sender (True) or a token did (False). Names of `headers` are in lower case.

        A signature that is there must hold; a token beside it does not help. Raises Unproven.
        """
        signature = next((headers[name] for name in SIGNATURES if headers.get(name)), "")
        if signature and self.signing:
            given = signature.strip().lower().removeprefix("sha256=").encode()
            if any(hmac.compare_digest(_hmac(secret, body), given) for secret in self.signing):
                return True
            raise Unproven("the signature does not fit the body: the secret is another one, or the bytes were changed")
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if self.is_token(token) or (scheme.lower() == "bearer" and self.is_token(value.strip())):
            return False
        raise Unproven("there is no signature" if self.signing and not self.tokens else "there is no known token")


def _hmac(secret: bytes, body: bytes) -> bytes:
    return hmac.new(secret, body, hashlib.sha256).hexdigest().encode()
