"""Servers on loopback for the benchmarks, each in a process of its own so that its cost is not counted."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

PAGE = 100


def charge(number: int) -> dict[str, Any]:
    """A Stripe-like charge of about 2.45 kB. `number` shows in its id and in what varies between charges."""
    card = {
        "amount_authorized": 1000 + number % 90000,
        "brand": ("visa", "mastercard", "amex")[number % 3],
        "checks": {"address_line1_check": None, "address_postal_code_check": "pass", "cvc_check": "pass"},
        "country": ("BR", "US", "DE", "PT")[number % 4],
        "exp_month": number % 12 + 1,
        "exp_year": 2027 + number % 5,
        "extended_authorization": {"status": "disabled"},
        "fingerprint": f"{number * 2654435761 % 2**64:016x}",
        "funding": "credit",
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": f"{number * 7919 % 10000:04d}",
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": "visa",
        "network_token": {"used": False},
        "overcapture": {"maximum_amount_capturable": 1000, "status": "unavailable"},
        "three_d_secure": None,
        "wallet": None,
    }
    token = f"{number * 11400714819323198485 % 2**64:016x}"
    return {
        "id": f"ch_{number:012d}",
        "object": "charge",
        "amount": 1000 + number % 90000,
        "amount_captured": 1000 + number % 90000,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": f"txn_{token}",
        "billing_details": {
            "address": {
                "city": "São Paulo",
                "country": "BR",
                "line1": f"Rua das Flores {number % 4000}",
                "line2": None,
                "postal_code": f"{number % 100000:05d}-000",
                "state": "SP",
            },
            "email": f"person.{number}@example.com",
            "name": f"Maria da Silva {number % 977}",
            "phone": None,
            "tax_id": None,
        },
        "calculated_statement_descriptor": "EXAMPLE STORE",
        "captured": True,
        "created": 1700000000 + number * 30,
        "currency": ("brl", "usd", "eur")[number % 3],
        "customer": f"cus_{token[:14]}",
        "description": f"Order {number}: two chairs and a table of oak, delivered to the door, to be paid in three parts",
        "destination": None,
        "dispute": None,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": True,
        "metadata": {"order": str(number), "channel": "web", "cart": token, "campaign": "spring-sale-2026", "shop": "14"},
        "on_behalf_of": None,
        "order": None,
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": number % 60,
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": f"pi_{token}{number:08d}",
        "payment_method": f"pm_{token}",
        "payment_method_details": {"card": card, "type": "card"},
        "radar_options": {},
        "receipt_email": f"person.{number}@example.com",
        "receipt_number": None,
        "receipt_url": f"https://pay.stripe.com/receipts/payment/{token}{token}{number:012d}",
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


class Pages:
    """Cursor pages of charges: a few prebuilt ones, the ids written into them for each answer."""

    def __init__(self, rows: int, variants: int = 16) -> None:
        self._rows = rows
        self._bodies: list[list[bytes]] = []
        for variant in range(variants):
            page = {"object": "list", "data": [charge(variant * PAGE + i) for i in range(PAGE)], "url": "/v1/charges"}
            body = json.dumps(page, separators=(",", ":"), ensure_ascii=False).encode()
            self._bodies.append(re.split(rb"ch_\d{12}", body[:-1]))

    def __call__(self, path: str) -> Reply:
        match = re.search(r"starting_after=ch_(\d+)", path)
        first = int(match[1]) + 1 if match else 0
        pieces = self._bodies[first // PAGE % len(self._bodies)]
        body = bytearray(pieces[0])
        for number, piece in enumerate(pieces[1:], first):
            body += b"ch_%012d" % number
            body += piece
        body += b',"has_more":true}' if first + PAGE < self._rows else b',"has_more":false}'
        return Reply(bytes(body))


class Children:
    """Pages of parents and one small child per parent, each after `latency` seconds, under a limit where one is given.

    `tells` is what the limit's answers say: `headers` (x-ratelimit-* on all of them) or `retry-after` (on a 429 only).
    Windows are cut by the server's clock, from a random moment on. `/stats` tells what was asked of the children.
    """

    def __init__(self, latency: float, calls: int = 0, seconds: float = 0.0, tells: str = "") -> None:
        self._latency = latency
        self._calls = calls
        self._seconds = seconds
        self._tells = tells
        self._start = time.time() - random.random() * seconds
        self._times: list[float] = []
        self._windows: Counter[int] = Counter()
        self._limited = 0
        self._served: Counter[str] = Counter()

    def __call__(self, path: str) -> Reply:
        if path == "/stats":
            return Reply(json.dumps(self._stats()).encode())
        now = time.time()
        headers: dict[str, str] = {}
        if self._calls:
            window, left = divmod(now - self._start, self._seconds)
            left = self._seconds - left
            allowed = self._windows[int(window)] < self._calls
            if allowed:
                self._windows[int(window)] += 1
            if self._tells == "headers":
                headers["x-ratelimit-limit"] = str(self._calls)
                headers["x-ratelimit-remaining"] = str(self._calls - self._windows[int(window)])
                headers["x-ratelimit-reset"] = f"{now + left:.3f}"
            if not allowed:
                self._limited += 1
                headers["Retry-After"] = str(math.ceil(left))
                return Reply(b'{"error":"too many"}', 429, headers, self._latency)
        if path.startswith("/children/"):
            self._times.append(now)
            self._served[path] += 1
        return Reply(b'{"id":"%s"}' % path.rpartition("/")[2].encode(), 200, headers, self._latency)

    def _stats(self) -> dict[str, float]:
        used = sorted(self._windows)
        return {
            "answered": len(self._times),
            "limited": self._limited,
            "doubled": sum(count - 1 for count in self._served.values()),
            "span": self._times[-1] - self._times[0],
            "windows": used[-1] - used[0] + 1 if used else 0,
        }


class Reply(NamedTuple):
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}
    after: float = 0.0
    """Seconds until it is sent."""


class _Connection(asyncio.Protocol):
    """Enough of HTTP/1.1 for clients that send one GET after another."""

    def __init__(self, answer: Callable[[str], Reply]) -> None:
        self._answer = answer
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"\r\n\r\n" in self._received:
            path = self._received.split(b" ", 2)[1].decode()
            self._received = b""
            reply = self._answer(path)
            head = [f"HTTP/1.1 {reply.status} X", f"Content-Length: {len(reply.body)}", "Content-Type: application/json"]
            head += [f"{name}: {value}" for name, value in reply.headers.items()]
            whole = "\r\n".join([*head, "", ""]).encode() + reply.body
            asyncio.get_running_loop().call_later(reply.after, self._transport.write, whole)


async def _serve(answer: Callable[[str], Reply]) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(answer), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def serving(kind: str, **options: float | str) -> Iterator[str]:
    """The address of a server of `pages` or `children`, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.servers", kind, json.dumps(options)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    kinds: dict[str, Callable[..., Callable[[str], Reply]]] = {"pages": Pages, "children": Children}
    asyncio.run(_serve(kinds[sys.argv[1]](**json.loads(sys.argv[2]))))
