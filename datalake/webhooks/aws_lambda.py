"""The receiver as an AWS Lambda function, behind a function URL or API Gateway (HTTP API, payload version 2.0).

Handler: `datalake.webhooks.aws_lambda.handler`. It needs no web server, and takes its settings from the environment.
"""

from __future__ import annotations

import base64
import binascii
from functools import cache
from typing import Any

from datalake.settings import Settings
from datalake.webhooks.receiver import Call, Receiver, Reply


@cache
def _receiver() -> Receiver:
    """Made at the first call, kept for the life of the function. Amazon's front door knows the names it serves."""
    settings = Settings.load()
    return Receiver(settings, settings.names("DATALAKE_WEBHOOK_HOSTS"))


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer one event."""
    reply = _reply(event)
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", **reply.headers}
    return {"statusCode": reply.status, "headers": headers, "body": reply.text, "isBase64Encoded": False}


def _reply(event: dict[str, Any]) -> Reply:
    context = event["requestContext"]
    stage = context.get("stage", "$default")
    path = event["rawPath"] if stage == "$default" else event["rawPath"].removeprefix(f"/{stage}")
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    body = event.get("body") or ""
    try:
        content = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except binascii.Error:
        return Reply(400, "the body is no base64, though the event says so")
    host = headers.get("host", context.get("domainName", ""))
    call = Call(context["http"]["method"], host, path, event.get("rawQueryString", ""), headers, content)
    return _receiver().receive(call)
