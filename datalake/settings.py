"""Every setting of the lake, and the only place that reads the environment. What a setting does lives elsewhere."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    default: str
    about: str
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("DATALAKE_URL", "lake", "The lake's root: a folder, or s3://bucket/prefix."),
    Setting(
        "DATALAKE_CATALOG",
        "sqlite",
        "The Iceberg catalog: `sqlite` (a file beside the lake's data; folder lakes only), `glue` (AWS), "
        "or the address of an Iceberg REST catalog.",
    ),
    Setting(
        "DATALAKE_CATALOG_TOKEN",
        "",
        "Bearer token of the REST catalog named by DATALAKE_CATALOG; also the one that `datalake catalog serve` asks for "
        "(empty: a new one each time).",
        secret=True,
    ),
    Setting(
        "DATALAKE_TABLES", "", "Tables to run beside the core ones: patterns, comma-separated, such as stripe.*,github.forks."
    ),
    Setting(
        "DATALAKE_CONTRACTS",
        "",
        "Folder of the company's own contracts, laid out as the lake's: <source>/<table>.yaml adds a table or replaces one.",
    ),
    Setting("DATALAKE_SOURCES", "", "Sources to run, comma-separated; empty: all that are connected to the lake."),
    Setting("DATALAKE_MEMORY", "1GB", "Memory that treating one source may use, however large its input."),
    Setting("DATALAKE_THREADS", "", "Threads that DuckDB may use; empty: one a core."),
    Setting(
        "DATALAKE_SECRETS",
        "",
        "Where secrets are kept that are not set here: a file, `secretsmanager:<prefix>` or `ssm:<prefix>` (AWS); empty: "
        "<lake>.secrets.json beside a folder lake, ~/.config/datalake/secrets.json for a lake on S3.",
    ),
    Setting("DATALAKE_SCHEDULES", "STOPPED", "State of the schedules when first deployed: RUNNING or STOPPED."),
    Setting(
        "DATALAKE_WEBHOOK_HOSTS",
        "",
        "Host names that the webhook receiver answers to, comma-separated; empty: loopback's (on AWS Lambda: any).",
    ),
    Setting("DATALAKE_CRON_STRIPE", "", "Cron (UTC) of Stripe's schedule; empty: the contract's. Each source has one."),
    Setting("DATALAKE_CRON_GITHUB", "", "Cron (UTC) of GitHub's schedule; empty: the contract's."),
    Setting("DATALAKE_CRON_XERO", "", "Cron (UTC) of Xero's schedule; empty: the contract's."),
    Setting("DATALAKE_CRON_CONTA_AZUL", "", "Cron (UTC) of Conta Azul's schedule; empty: the contract's."),
    Setting("DATALAKE_CRON_ZOHO_CRM", "", "Cron (UTC) of Zoho CRM's schedule; empty: the contract's."),
    Setting("DATALAKE_CRON_CLICKUP", "", "Cron (UTC) of ClickUp's schedule; empty: the contract's."),
    Setting("DATALAKE_CRON_DIALOG_360", "", "Cron (UTC) of 360dialog's schedule; empty: the contract's."),
    Setting("DATALAKE_CRON_MONGODB", "", "Cron (UTC) of MongoDB's schedule; empty: the contract's."),
    Setting(
        "DATALAKE_S3_ENDPOINT", "", "Address of an S3-compatible server; empty: AWS. Keys come from the usual AWS settings."
    ),
    Setting("AWS_REGION", "", "AWS region of the bucket, Glue and Athena."),
    Setting("ATHENA_WORKGROUP", "primary", "Athena workgroup that proves registered tables and runs `datalake query` on AWS."),
    Setting("ATHENA_OUTPUT", "", "s3:// place for Athena's results; empty: the workgroup's."),
    Setting("STRIPE_API_KEY", "", "Restricted key (rk_…) with Read on the wanted resources and on Events.", secret=True),
    Setting("STRIPE_ACCOUNT", "", "Connected account (acct_…) to read instead of the key's own."),
    Setting("STRIPE_BASE_URL", "", "Another address for Stripe's API, such as a stand-in on loopback."),
    Setting(
        "STRIPE_SINCE",
        "",
        "First day to load (YYYY-MM-DD); empty: everything. Customers, subscriptions and the catalogue always come whole.",
    ),
    Setting("GITHUB_TOKEN", "", "Personal access token; or use an App (below).", secret=True),
    Setting("GITHUB_APP_ID", "", "Id (or client id) of a GitHub App installed on the organizations."),
    Setting("GITHUB_APP_PRIVATE_KEY", "", "The App's private key (PEM text, or the path of the file).", secret=True),
    Setting("GITHUB_ORGANIZATIONS", "", "Organizations to read, comma-separated; empty: all that the token can see."),
    Setting("GITHUB_REPOSITORIES", "", "Patterns of owner/name to read, comma-separated; empty: all."),
    Setting("GITHUB_BASE_URL", "", "Another address for GitHub's API: Enterprise Server, or a stand-in on loopback."),
    Setting("GITHUB_SINCE", "", "First day of facts to load (YYYY-MM-DD); empty: everything. Never applied to dictionaries."),
    Setting("XERO_CLIENT_ID", "", "Client id of the Xero app or custom connection.", secret=True),
    Setting("XERO_CLIENT_SECRET", "", "Client secret of the Xero app or custom connection.", secret=True),
    Setting(
        "XERO_REFRESH_TOKEN",
        "",
        "First refresh token of an app's login (`datalake connect xero` gets one); empty with a custom connection.",
        secret=True,
    ),
    Setting("XERO_CUSTOM_CONNECTION", "", "`yes` where the Xero app is a custom connection: one organisation, no login."),
    Setting("XERO_TENANTS", "", "Xero organisations to read, by id or name, comma-separated; empty: all that the login reads."),
    Setting(
        "XERO_CALLS_A_MINUTE",
        "60",
        "Calls a minute and Xero organisation; Xero allows 60 to an app. Less where other programs use the same app.",
    ),
    Setting("XERO_BASE_URL", "", "Another address for Xero's API and login, such as a stand-in on loopback."),
    Setting("CONTA_AZUL_CLIENT_ID", "", "Client id of the application registered at developers.contaazul.com.", secret=True),
    Setting("CONTA_AZUL_CLIENT_SECRET", "", "Its client secret.", secret=True),
    Setting(
        "CONTA_AZUL_REFRESH_TOKEN",
        "",
        "A first refresh token, instead of `datalake connect conta_azul`. It works once; the lake keeps the ones that follow.",
        secret=True,
    ),
    Setting("CONTA_AZUL_BASE_URL", "", "Another address for Conta Azul's API, such as a stand-in on loopback."),
    Setting(
        "CONTA_AZUL_COMPANY",
        "",
        "Name of the connected company in all keys, instead of the id that Conta Azul tells. Never change it.",
    ),
    Setting(
        "CONTA_AZUL_SINCE",
        "",
        "First day of invoices, transfers and changes to load (YYYY-MM-DD); empty: everything. Lists always come whole.",
    ),
    Setting(
        "CONTA_AZUL_COMPARE_DAYS", "7", "Days between two readings of the whole lists, which show what was deleted meanwhile."
    ),
    Setting(
        "ZOHO_CRM_CLIENT_ID", "", "Client id of the application registered in the API console of the data centre.", secret=True
    ),
    Setting("ZOHO_CRM_CLIENT_SECRET", "", "Its client secret.", secret=True),
    Setting(
        "ZOHO_CRM_REFRESH_TOKEN",
        "",
        "Refresh token of a self client, instead of `datalake connect zoho_crm`; made by an administrator.",
        secret=True,
    ),
    Setting("ZOHO_CRM_DATA_CENTER", "us", "Where the Zoho account lives: us, eu, in, au, jp, cn, ca or sa."),
    Setting("ZOHO_CRM_BASE_URL", "", "Another address for Zoho's login and API, such as a stand-in on loopback."),
    Setting("CLICKUP_TOKEN", "", "Personal token (pk_…) of an owner or admin, or an OAuth access token.", secret=True),
    Setting("CLICKUP_WORKSPACES", "", "Ids of the workspaces to read, comma-separated; empty: all that the token can see."),
    Setting("CLICKUP_WEBHOOK_SECRET", "", "Secret that signs ClickUp's webhook (told once when it is made).", secret=True),
    Setting("CLICKUP_WEBHOOK_SECRET_PREVIOUS", "", "The secret before it, honoured until it is taken out.", secret=True),
    Setting(
        "CLICKUP_WEBHOOK_TOKEN",
        "",
        "A secret of your own in the webhook's address, /clickup/<token>, beside or instead of the signature.",
        secret=True,
    ),
    Setting("CLICKUP_WEBHOOK_TOKEN_PREVIOUS", "", "The token before it, honoured until it is taken out.", secret=True),
    Setting("CLICKUP_BASE_URL", "", "Another address for ClickUp's API, such as a stand-in on loopback."),
    Setting("CLICKUP_SINCE", "", "First day to load (YYYY-MM-DD): tasks by their last change, time entries by their start."),
    Setting(
        "DIALOG_360_API_KEY",
        "",
        "Key of 360dialog's partner hub (X-API-Key); empty for a company without a partner account.",
        secret=True,
    ),
    Setting("DIALOG_360_USERNAME", "", "User of the partner hub, where there is no DIALOG_360_API_KEY."),
    Setting("DIALOG_360_PASSWORD", "", "Password of DIALOG_360_USERNAME.", secret=True),
    Setting("DIALOG_360_PARTNER_ID", "", "Id of the partner account (…PA); needed with a key or user of the hub."),
    Setting(
        "DIALOG_360_CHANNEL_KEYS",
        "",
        "Keys of phone numbers (D360-API-KEY), each behind its channel's id: id=key, comma-separated.",
        secret=True,
    ),
    Setting(
        "DIALOG_360_META_TOKEN", "", "Token of Meta's Graph API, for the tables meta_*; they need one of your own.", secret=True
    ),
    Setting("DIALOG_360_BASE_URL", "", "Another address for 360dialog's and Meta's hosts, such as a stand-in on loopback."),
    Setting(
        "DIALOG_360_SINCE", "", "First day of usage and analytics to load (YYYY-MM-DD); empty: as far back as each is kept."
    ),
    Setting("DIALOG_360_WEBHOOK_SECRET", "", "Secret that signs 360dialog's webhooks (made in the partner hub).", secret=True),
    Setting("DIALOG_360_WEBHOOK_SECRET_PREVIOUS", "", "The secret before it, honoured until it is taken out.", secret=True),
    Setting(
        "DIALOG_360_WEBHOOK_TOKEN",
        "",
        "Shared secret for webhooks without a signature: a header `Authorization: Bearer …`, or the end of the address.",
        secret=True,
    ),
    Setting("DIALOG_360_WEBHOOK_TOKEN_PREVIOUS", "", "The token before it, honoured until it is taken out.", secret=True),
    Setting(
        "MONGODB_URL",
        "",
        "Address of the MongoDB with user and password: mongodb://user:password@host/?authSource=admin, or mongodb+srv://…",
        secret=True,
    ),
    Setting("MONGODB_DATABASE", "", "Database that holds the collections; empty: the one that MONGODB_URL names."),
)


class SettingError(ValueError):
    """A setting is missing or wrong; the message names it and says what to write."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings read once from a mapping: by default `.env` and, over it, the environment. `repr` shows no value."""

    values: Mapping[str, str] = field(repr=False)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Settings:
        if environment is not None:
            return cls(dict(environment))
        from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
        return cls({**from_file, **os.environ})

    def __getitem__(self, name: str) -> str:
        """The setting's value (a secret's also from the secret store), or its default. KeyError for a name that is none."""
        setting = _BY_NAME[name]
        return self.values.get(name) or (self._kept(name) if setting.secret else "") or setting.default

    def require(self, name: str) -> str:
        value = self[name]
        if not value:
            raise SettingError(
                f"{name} is not set. {_BY_NAME[name].about} Set it in the environment or in .env, or run `datalake connect`."
            )
        return value

    def _kept(self, name: str) -> str:
        from datalake.redaction import hide
        from datalake.secret_store import secret_store

        value = secret_store(self).get(name) or ""
        hide(value)
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """A comma-separated setting as a tuple."""
        return tuple(part.strip() for part in self[name].split(",") if part.strip())

    def secrets(self) -> tuple[str, ...]:
        """Values that must never be shown, for redaction."""
        return tuple(self.values[s.name] for s in SETTINGS if s.secret and self.values.get(s.name))

    def base_url(self, source: str, default: str) -> tuple[str, bool]:
        """The address of a source, and whether a setting moved it: only then plain http and loopback are allowed."""
        value = self.values.get(f"{source.upper()}_BASE_URL", "")
        return (value.rstrip("/"), True) if value else (default, False)

    def cron(self, source: str, default: str) -> str:
        return self.values.get(f"DATALAKE_CRON_{source.upper()}", "") or default

    @property
    def lake_url(self) -> str:
        url = self["DATALAKE_URL"]
        return url if url.startswith("s3://") else str(Path(url.removeprefix("file://")).expanduser().absolute())

    @property
    def on_aws(self) -> bool:
        return self["DATALAKE_CATALOG"] == "glue"

    def selected(self, table_id: str, core: bool) -> bool:
        """Whether a table runs: core ones always, others by the patterns of DATALAKE_TABLES."""
        return core or any(fnmatch.fnmatchcase(table_id, pattern) for pattern in self.names("DATALAKE_TABLES"))


_BY_NAME = {setting.name: setting for setting in SETTINGS}


def example() -> str:
    """The text of `.env.example`: every setting, what it does, its default."""
    lines = ["# Every setting of the lake. Copy to .env and fill in what you need; what is left out keeps its default."]
    for setting in SETTINGS:
        lines += ["", f"# {setting.about}", f"#{setting.name}={setting.default}"]
    return "\n".join(lines) + "\n"
