"""The webhook receiver under a steady load: `python -m bench.webhooks [requests a second] [seconds]`.

Calls leave on a fixed beat whatever the answers do, one in twenty a repeat of the one before. A call's time is counted from its
beat, so that a receiver that falls behind shows. Afterwards every body must be in the inbox, once.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECRET = "bench"
SENDERS = 64


def body(number: int) -> bytes:
    """A status as Meta sends it, about 600 bytes."""
    status = {
        "id": f"wamid.{number:032d}",
        "status": "delivered",
        "timestamp": "1797000000",
        "recipient_id": "5511999999999",
        "pricing": {"billable": True, "pricing_model": "PMP", "category": "utility", "type": "regular"},
    }
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "551130000000", "phone_number_id": "106540352242922"},
        "contacts": [{"profile": {"name": "Ana"}, "wa_id": "5511999999999"}],
        "statuses": [status],
    }
    entry = {"id": "102290129340398", "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def measure(rate: int = 200, seconds: int = 10) -> dict[str, Any]:
    """Milliseconds from beat to answer. Raises AssertionError where a call failed, or a body is not there once."""
    calls = rate * seconds
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DATALAKE_URL": folder, "DIALOG_360_WEBHOOK_SECRET": SECRET}
        command = [sys.executable, "-m", "datalake.cli", "webhooks", "--port", "0"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                address = process.stdout.readline().split()[3]
                times = _load(address, rate, calls)
            finally:
                process.terminate()
        kept = [path.name for path in Path(folder).glob("inbox/dialog_360/bodies/*/*")]
    sent = {hashlib.sha256(body(_what(number))).hexdigest() for number in range(calls)}
    assert set(kept) == sent, f"{len(kept)} bodies are kept of {len(sent)}"
    assert len(kept) == len(sent)
    times.sort()
    return {
        "bench": "webhooks",
        "rate": rate,
        "calls": calls,
        "bodies": len(kept),
        "median_ms": round(statistics.median(times) * 1000, 1),
        "p99_ms": round(times[int(0.99 * calls)] * 1000, 1),
        "slowest_ms": round(times[-1] * 1000, 1),
        "over_1_s": round(sum(time > 1 for time in times) / calls, 4),
    }


def _what(number: int) -> int:
    """Which body a call sends."""
    return number - 1 if number % 20 == 19 else number


def _load(address: str, rate: int, calls: int) -> list[float]:
    parts = urlsplit(address)
    mine = threading.local()
    begun = time.monotonic() + 0.5

    def send(number: int) -> float:
        beat = begun + number / rate
        time.sleep(max(0.0, beat - time.monotonic()))
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        content = body(_what(number))
        signature = hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()
        mine.connection.request("POST", parts.path, content, {"X-360dialog-Signature": signature})
        reply = mine.connection.getresponse()
        reply.read()
        assert reply.status == 200, reply.status
        return time.monotonic() - beat

    with ThreadPoolExecutor(SENDERS) as pool:
        return list(pool.map(send, range(calls)))


if __name__ == "__main__":
    result = measure(*map(int, sys.argv[1:]))
    print(json.dumps(result))
    print(
        f"{result['calls']:,} webhooks at {result['rate']} a second: median {result['median_ms']} ms, "
        f"99 % within {result['p99_ms']} ms, {result['over_1_s']:.1%} over 1 s"
    )
