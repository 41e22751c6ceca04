"""How each library reaches the lake's bucket: one session of credentials, one endpoint, for all of them.

Credentials come from boto3's chain (environment, profile, role of the machine) and are never written anywhere. Folder lakes
import nothing of this.
"""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlparse

from datalake.lake.sql import literal
from datalake.settings import SettingError, Settings


class S3:
    """Access to S3 (or a server that speaks it) under one set of refreshing credentials."""

    def __init__(self, settings: Settings) -> None:
        try:
            import boto3
        except ImportError as error:
            raise SettingError("An s3:// lake needs the AWS packages: pip install 'datalake[aws]'") from error
        self.endpoint = settings["DATALAKE_S3_ENDPOINT"]
        self.session = boto3.Session(region_name=settings["AWS_REGION"] or None)
        self.region: str = self.session.region_name or ("us-east-1" if self.endpoint else "")
        if not self.region:
            raise SettingError("AWS_REGION is not set: write the region of the lake's bucket, such as eu-central-1")
        self._credentials = self.session.get_credentials()
        if self._credentials is None:
            raise SettingError(
                "No AWS credentials found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run under a role"
            )

    @cache  # noqa: B019 - one S3 a lake, as long-lived as the process
    def client(self, service: str) -> Any:
        """A client of another AWS service under the same credentials."""
        return self.session.client(service, region_name=self.region)

    def obstore(self) -> dict[str, Any]:
        """Settings of obstore's S3Store."""
        from obstore.auth.boto3 import Boto3CredentialProvider

        options: dict[str, Any] = {"region": self.region, "credential_provider": Boto3CredentialProvider(self.session)}
        if self.endpoint:
            options |= {"endpoint": self.endpoint, "virtual_hosted_style_request": False}
            if self.endpoint.startswith("http://"):
                options["client_options"] = {"allow_http": True}
        return options

    def pyiceberg(self) -> dict[str, str]:
        """Properties of pyiceberg's catalog and file access; Arrow walks the same chain of credentials by itself."""
        properties = {"s3.region": self.region, "client.region": self.region}
        if self.endpoint:
            properties |= {"s3.endpoint": self.endpoint, "s3.force-virtual-addressing": "false"}
        return properties

    def duckdb_secret(self) -> str:
        """The statement that gives DuckDB the credentials as they are now; they may have been renewed since the last call."""
        keys = self._credentials.get_frozen_credentials()
        options = {"KEY_ID": keys.access_key, "SECRET": keys.secret_key, "REGION": self.region}
        if keys.token:
            options["SESSION_TOKEN"] = keys.token
        if self.endpoint:
            address = urlparse(self.endpoint)
            options |= {"ENDPOINT": address.netloc, "URL_STYLE": "path", "USE_SSL": str(address.scheme == "https").lower()}
        return "CREATE OR REPLACE SECRET s3 (TYPE s3, " + ", ".join(f"{k} {literal(v)}" for k, v in options.items()) + ")"
