"""The same receiver as a Lambda function: events of function URLs and of API Gateway, without a web server."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from datalake.webhooks import aws_lambda
from datalake_tests.webhooks.conftest import TOKEN, Place
from datalake_tests.webhooks.test_receiver import BODY, sign


@pytest.fixture(autouse=True)
def function(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in place.settings.values.items():
        monkeypatch.setenv(name, value)
    aws_lambda._receiver.cache_clear()
    yield
    aws_lambda._receiver.cache_clear()


def event(
    body: bytes, *, encoded: bool = True, method: str = "POST", stage: str = "$default", **headers: str
) -> dict[str, Any]:
    """An event as a function URL or an HTTP API makes it (payload version 2.0)."""
    path = "/dialog_360/C1" if stage == "$default" else f"/{stage}/dialog_360/C1"
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "abc.lambda-url.eu-central-1.on.aws", **headers},
        "requestContext": {"domainName": "abc.lambda-url.eu-central-1.on.aws", "stage": stage, "http": {"method": method}},
        "body": base64.b64encode(body).decode() if encoded else body.decode(),
        "isBase64Encoded": encoded,
    }


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("stage", ["$default", "prod"])
def test_a_signed_body_is_kept_whatever_its_wrapping(place: Place, encoded: bool, stage: str) -> None:
    reply = aws_lambda.handler(event(BODY, encoded=encoded, stage=stage, **{"X-360dialog-Signature": sign(BODY)}), None)
    assert (reply["statusCode"], reply["body"]) == (200, "")
    assert place.bodies() == [BODY]


def test_bytes_that_are_no_text_are_signed_as_they_are(place: Place) -> None:
    body = b"\xff\x00{"
    assert aws_lambda.handler(event(body, **{"x-360dialog-signature": sign(body)}), None)["statusCode"] == 200
    assert place.bodies() == [body]


def test_strangers_wrong_methods_and_broken_events_are_refused(place: Place) -> None:
    def status(of: dict[str, Any]) -> int:
        return int(aws_lambda.handler(of, None)["statusCode"])

    assert status(event(BODY)) == 401
    assert status(event(BODY, method="PATCH")) == 405
    assert status({**event(BODY), "rawPath": "/elsewhere"}) == 404
    assert status({**event(BODY), "body": "not base64 at all!"}) == 400
    assert status(event(b"x" * (3 * 1024 * 1024 + 1), authorization=f"Bearer {TOKEN}")) == 413
    assert place.bodies() == []


def test_two_functions_keep_the_same_bytes_once(place: Place) -> None:
    for _ in range(2):
        aws_lambda._receiver.cache_clear()
        assert aws_lambda.handler(event(BODY, authorization=f"Bearer {TOKEN}"), None)["statusCode"] == 200
    assert place.bodies() == [BODY]
    assert len(place.arrivals()) == 1


def test_the_function_needs_neither_a_web_server_nor_dagster() -> None:
    """What it imports is what must be packed."""
    code = (
        "import sys; import datalake.webhooks.aws_lambda; "
        "print([name for name in ('uvicorn', 'starlette', 'dagster', 'duckdb', 'pyarrow', 'pyiceberg', 'pandas') "
        "if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
