"""Who is let in, what is refused, and that an answer of 200 means that the body is kept."""

import hashlib
import hmac
import logging
import shutil

import pytest

from datalake.settings import SettingError, Settings
from datalake.webhooks.proof import Proof, Unproven
from datalake.webhooks.receiver import MOST, Call, Receiver, Reply
from datalake_tests.webhooks.conftest import SECRET, TOKEN, Place

BODY = b'{"object": "whatsapp_business_account", "entry": []}'


def sign(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def call(path: str = "/dialog_360/C1", body: bytes = BODY, method: str = "POST", **headers: str) -> Call:
    query = headers.pop("query", "")
    host = headers.pop("host", "localhost:8360")
    return Call(method, host, path, query, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.fixture
def receiver(place: Place) -> Receiver:
    return Receiver(place.settings, ("localhost", "hooks.example.com"))


# Proof


@pytest.mark.parametrize("header", ["x_360dialog_signature", "x_hub_signature_256"])
@pytest.mark.parametrize("form", ["{}", "sha256={}", " SHA256={} "])
def test_a_signature_over_the_bytes_lets_in(receiver: Receiver, place: Place, header: str, form: str) -> None:
    assert receiver.receive(call(**{header: form.format(sign(BODY))})).status == 200
    [key] = place.arrivals()
    found = place.inbox.get(key)
    assert found is not None
    assert (found[1], found[0].signed, found[0].channel) == (BODY, True, "C1")


def test_the_bytes_are_signed_not_what_they_mean(receiver: Receiver, place: Place) -> None:
    other = BODY.replace(b" ", b"")
    assert receiver.receive(call(body=other, x_360dialog_signature=sign(BODY))).status == 401
    assert place.bodies() == []


def test_a_token_lets_in_where_there_is_no_signature(receiver: Receiver, place: Place) -> None:
    assert receiver.receive(call(authorization=f"Bearer {TOKEN}")).status == 200
    assert receiver.receive(call(f"/dialog_360/C1/{TOKEN}", b"{}")).status == 200
    assert receiver.receive(call(f"/dialog_360/{TOKEN}", b'{"a": 1}')).status == 200
    found = [place.inbox.get(key) for key in place.arrivals()]
    assert [(each[0].channel, each[0].signed) for each in found if each] == [("C1", False), ("C1", False), ("", False)]
    assert TOKEN not in "".join(str(path) + path.read_text() for path in place.folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer another"},
        {"authorization": TOKEN},
        {"authorization": "Bearer "},
        {"x_360dialog_signature": sign(BODY, "another secret")},
        {"x_360dialog_signature": "sha256="},
        {"x_360dialog_signature": "é"},
        # A signature that is there must hold, whatever else is there.
        {"x_360dialog_signature": sign(b"other"), "authorization": f"Bearer {TOKEN}"},
    ],
)
def test_a_stranger_is_refused_and_nothing_is_kept(
    receiver: Receiver, place: Place, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert receiver.receive(call(**headers)).status == 401
    assert place.bodies() == []
    assert "whatsapp" not in caplog.text
    assert "refused" in caplog.text


def test_the_secrets_before_are_honoured_until_they_are_taken_out(place: Place) -> None:
    values = dict(place.settings.values)
    rotated = {"DIALOG_360_WEBHOOK_SECRET": "new secret", "DIALOG_360_WEBHOOK_TOKEN": "new token"}
    before = {"DIALOG_360_WEBHOOK_SECRET_PREVIOUS": SECRET, "DIALOG_360_WEBHOOK_TOKEN_PREVIOUS": TOKEN}
    while_changing = Proof.load(Settings.load({**values, **rotated, **before}), "dialog_360")
    after = Proof.load(Settings.load({**values, **rotated}), "dialog_360")
    old, new = {"x-360dialog-signature": sign(BODY)}, {"x-360dialog-signature": sign(BODY, "new secret")}
    assert while_changing.signed(old, "", BODY)
    assert while_changing.signed(new, "", BODY)
    assert while_changing.signed({}, TOKEN, BODY) is False
    assert after.signed(new, "", BODY)
    assert after.signed({"authorization": "Bearer new token"}, "", BODY) is False
    for headers, token in ((old, ""), ({}, TOKEN)):
        with pytest.raises(Unproven):
            after.signed(headers, token, BODY)


def test_a_receiver_that_could_not_tell_strangers_does_not_start(place: Place) -> None:
    with pytest.raises(SettingError, match="DIALOG_360_WEBHOOK_SECRET"):
        Receiver(Settings.load({"DATALAKE_URL": str(place.folder)}), ())


def test_a_secret_alone_takes_no_unsigned_body(place: Place) -> None:
    only = Settings.load({"DATALAKE_URL": str(place.folder), "DIALOG_360_WEBHOOK_SECRET": SECRET})
    assert Receiver(only, ()).receive(call()).status == 401
    assert SECRET not in repr(Proof.load(only, "dialog_360"))


# What is refused


@pytest.mark.parametrize(
    "refused, status",
    [
        (call(method="PUT"), 405),
        (call(method="DELETE"), 405),
        (call("/"), 404),
        (call("/stripe"), 404),
        (call("/dialog_360/a/b/c"), 404),
        (call("/dialog_360/../etc"), 404),
        (call(host="evil.example.com"), 421),
        (call(host=""), 421),
        (call(content_encoding="gzip"), 415),
        (call(content_length=str(MOST + 1)), 413),
    ],
)
def test_what_is_no_webhook_is_refused_before_its_body_is_read(receiver: Receiver, refused: Call, status: int) -> None:
    reply = receiver.refuse(refused)
    assert reply is not None
    assert reply.status == status
    assert receiver.receive(refused) == reply


def test_a_body_may_have_so_many_bytes_and_no_more(receiver: Receiver, place: Place) -> None:
    longest = b"x" * MOST
    assert receiver.receive(call(body=longest, x_360dialog_signature=sign(longest))).status == 200
    longer = longest + b"x"
    assert receiver.receive(call(body=longer, x_360dialog_signature=sign(longer))).status == 413
    assert place.bodies() == [longest]


def test_the_names_it_answers_to_may_have_a_port(receiver: Receiver) -> None:
    for host in ("localhost", "LOCALHOST:1234", "hooks.example.com:443"):
        assert receiver.refuse(call(host=host)) is None


def test_an_empty_body_is_a_test_of_the_address(receiver: Receiver, place: Place) -> None:
    assert receiver.receive(call(body=b"", authorization=f"Bearer {TOKEN}")).status == 200
    assert receiver.receive(call(body=b"")).status == 401
    assert place.bodies() == []


def test_the_handshake_is_answered_to_who_knows_the_token(receiver: Receiver) -> None:
    def ask(token: str, mode: str = "subscribe") -> Reply:
        query = f"hub.mode={mode}&hub.verify_token={token}&hub.challenge=1158201444"
        return receiver.receive(call(method="GET", body=b"", query=query))

    assert ask(TOKEN) == Reply(200, "1158201444")
    assert ask("another").status == 403
    assert ask(TOKEN, "unsubscribe").status == 403
    assert receiver.receive(call(method="GET", body=b"")) == Reply(200)


# What an answer means


def test_the_same_bytes_are_answered_alike_and_kept_once(receiver: Receiver, place: Place) -> None:
    for channel in ("C1", "C1", "C2"):
        assert receiver.receive(call(f"/dialog_360/{channel}", x_360dialog_signature=sign(BODY))).status == 200
    assert place.bodies() == [BODY]
    assert len(place.arrivals()) == 1


def test_what_cannot_be_kept_is_not_answered_with_200(
    receiver: Receiver, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(place.folder)
    place.folder.write_text("no folder any more")
    reply = receiver.receive(call(x_360dialog_signature=sign(BODY)))
    assert (reply.status, reply.headers) == (503, {"Retry-After": "30"})
    assert "whatsapp" not in caplog.text
    place.folder.unlink()
    place.folder.mkdir()
    assert receiver.receive(call(x_360dialog_signature=sign(BODY))).status == 200
    assert place.bodies() == [BODY]
