"""How Zoho lets one in: data centres, the login, how many calls may run at once, and what its refusals mean."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

import msgspec

from datalake.settings import SettingError, Settings
from datalake.sources.auth import Request
from datalake.sources.base import Permanent, Transient
from datalake.sources.http import Answer, Verdict
from datalake.sources.oauth import OAuth

ACCOUNTS = {
    "us": "https://accounts.zoho.com",
    "eu": "https://accounts.zoho.eu",
    "in": "https://accounts.zoho.in",
    "au": "https://accounts.zoho.com.au",
    "jp": "https://accounts.zoho.jp",
    "cn": "https://accounts.zoho.com.cn",
    "ca": "https://accounts.zohocloud.ca",
    "sa": "https://accounts.zoho.sa",
}
"""The accounts server of each data centre. Where the API is, the token's answer says (`api_domain`)."""
_API_DOMAIN = re.compile(r"https://(www|sandbox|developer)\.zohoapis\.(com|eu|in|com\.au|jp|com\.cn|ca|sa)")

# Calls in flight an organisation and app, by edition. https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html
_AT_ONCE = {"ultimate": 25, "crmplus": 25, "enterprise": 20, "zohoone": 20, "professional": 15, "standard": 10, "starter": 10}
FEWEST_AT_ONCE = 5

_OFF = (
    "FEATURE_NOT_ENABLED",
    "FEATURE_NOT_SUPPORTED",
    "INVALID_MODULE",
    "MODULE_NOT_SUPPORTED",
    "NOT_SUPPORTED",
    "TERRITORY_NOT_ENABLED",
)
_REFUSED = ("NO_PERMISSION", "OAUTH_SCOPE_MISMATCH", "INVALID_MODULE", "MODULE_NOT_SUPPORTED", "NOT_ALLOWED")


class Login(OAuth):
    """The one token that all tables and processes share: Zoho gives ten in ten minutes for a refresh token, no more."""

    def auth_flow(self, request: Request) -> Generator[Request, Answer, None]:
        flow = super().auth_flow(request)
        answer = yield next(flow)
        if answer.status == 401 and code(answer) == "OAUTH_SCOPE_MISMATCH":
            return  # another token would have the same scopes, and be one of ten
        try:
            yield flow.send(answer)
        except StopIteration:
            return

    def _refusal(self, answer: Answer, told: dict[str, Any]) -> Exception:
        if told.get("error") == "Access Denied":
            return answer.fault(
                "more than ten access tokens were asked for in ten minutes; run again in ten minutes", Transient
            )
        return super()._refusal(answer, told)


def accounts_url(settings: Settings) -> str:
    """The accounts server of the account's data centre. Raises SettingError for one that is none."""
    centre = settings["ZOHO_CRM_DATA_CENTER"].lower()
    if centre not in ACCOUNTS:
        raise SettingError(f"ZOHO_CRM_DATA_CENTER is '{centre}': write one of {', '.join(ACCOUNTS)}")
    return settings.base_url("zoho_crm", ACCOUNTS[centre])[0]


def oauth(settings: Settings) -> Login:
    """The login of the settings. Raises SettingError."""
    accounts = accounts_url(settings)
    return Login(
        settings,
        "zoho_crm",
        token_url=f"{accounts}/oauth/v2/token",
        client_id=settings.require("ZOHO_CRM_CLIENT_ID"),
        client_secret=settings.require("ZOHO_CRM_CLIENT_SECRET"),
        moved=accounts not in ACCOUNTS.values(),
        client_proof="body",
        scheme="Zoho-oauthtoken",
        refusals={
            "invalid_client": "the client is not known there: is ZOHO_CRM_DATA_CENTER the one where the account lives, and is "
            "the client registered for it?",
            "invalid_code": "the refresh token was revoked, pushed out by newer ones, or belongs to another data centre",
            "invalid_client_secret": "ZOHO_CRM_CLIENT_SECRET is wrong",
        },
    )


def api_domain(facts: dict[str, Any], *, moved: bool) -> str:
    """Where the API of the account is, as the login said. Unless `moved` to a stand-in, it must be one of Zoho's own hosts."""
    domain = str(facts.get("api_domain", "")).rstrip("/")
    if not moved and not _API_DOMAIN.fullmatch(domain):
        raise Permanent(f"zoho_crm: the login names the API host '{domain}', which is none of Zoho's; nothing was asked there")
    return domain


def at_once(organization: dict[str, Any]) -> int:
    """Calls that may run at the same time, by the edition that the organisation pays for."""
    edition = str((organization.get("license_details") or {}).get("paid_type") or "").lower().replace(" ", "").replace("_", "")
    return next((calls for name, calls in _AT_ONCE.items() if name in edition), FEWEST_AT_ONCE)


def code(answer: Answer) -> str:
    """Zoho's own name of an error; empty where the body holds none."""
    try:
        told = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return ""
    return str(told.get("code") or "") if isinstance(told, dict) else ""


def feature_off(answer: Answer) -> bool:
    """The organisation, or this module, does not have what was asked for: there are no rows."""
    return answer.status in (400, 403) and code(answer) in _OFF


def gone(answer: Answer) -> bool:
    """The record that was asked for is not there any more."""
    return answer.status == 404 or (answer.status == 400 and code(answer) == "INVALID_DATA")


def refused(answer: Answer) -> bool:
    """The user, or the login's scopes, may not read what was asked for."""
    return answer.status == 403 or (answer.status in (400, 401) and code(answer) in _REFUSED)


def classify(answer: Answer) -> Verdict | None:
    """Zoho tells one refusal from another in its body; and a spent day from too many calls at once by the credits left."""
    if answer.status == 429:
        spent = answer.headers.get("X-API-CREDITS-REMAINING", "").strip() == "0"
        return Verdict.QUOTA if spent or code(answer) == "LIMIT_REACHED" or b"credit" in answer.body.lower() else None
    return Verdict.REFUSED if refused(answer) else None
