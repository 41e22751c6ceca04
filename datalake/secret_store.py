"""Where secrets are kept by name: a file that only its owner reads, AWS Secrets Manager, or SSM parameters.

What is kept: keys that `datalake connect` was given, under the names of their settings, and the tokens that logins rotate.
The environment and `.env` win over the store for keys; who asks for tokens lives in `sources/oauth.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from filelock import FileLock

if TYPE_CHECKING:
    from datalake.settings import Settings

LOCK_SECONDS = 300.0
"""How long one waits for another process that holds a secret's lock; no refresh takes that long."""


class SecretStore(Protocol):
    place: str
    """Where the secrets are, in words."""

    def get(self, name: str) -> str | None: ...

    def put(self, name: str, value: str) -> None:
        """Keep the value; it is durable when this returns."""
        ...

    def lock(self, name: str) -> contextlib.AbstractContextManager[object]:
        """Nobody else holds this name's lock meanwhile, in any process that uses the same store."""
        ...


def secret_store(settings: Settings) -> SecretStore:
    """The store that DATALAKE_SECRETS names. Raises SettingError for a place that is none."""
    place = settings["DATALAKE_SECRETS"]
    kind, _, prefix = place.partition(":")
    if kind in ("secretsmanager", "ssm"):
        return _AwsStore(settings, kind, prefix)
    if place:
        return FileStore(Path(place).expanduser())
    if settings.lake_url.startswith("s3://"):
        return FileStore(Path("~/.config/datalake/secrets.json").expanduser())
    return FileStore(Path(f"{settings.lake_url}.secrets.json"))


class FileStore:
    """One JSON file of names and values, mode 600, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.place = f"the file {self.path}"

    def get(self, name: str) -> str | None:
        return self._read().get(name)

    def put(self, name: str, value: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock", timeout=LOCK_SECONDS, mode=0o600):
            content = json.dumps(self._read() | {name: value}, indent=1)
            descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # mkstemp: mode 600
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._sync_folder()

    def lock(self, name: str) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.path}.{name.lower()}.lock", timeout=LOCK_SECONDS, mode=0o600)

    def _read(self) -> dict[str, str]:
        try:
            with self.path.open() as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if os.name == "posix" and mode & 0o077:
                    raise PermissionError(f"{self.path} can be read by others than its owner; run: chmod 600 {self.path}")
                content: dict[str, str] = json.load(file)
        except FileNotFoundError:
            return {}
        except json.JSONDecodeError as error:
            # The parser's message quotes no content, its `doc` would.
            raise ValueError(f"{self.path} is no JSON (line {error.lineno}); mend or remove it and connect again") from None
        return content

    def _sync_folder(self) -> None:
        if os.name == "posix":
            descriptor = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class _AwsStore:
    """Secrets Manager or SSM parameters (SecureString); locks are leases in the lake, which all machines share."""

    def __init__(self, settings: Settings, kind: str, prefix: str) -> None:
        from datalake.lake.objects import Objects
        from datalake.lake.s3 import S3

        self.place = f"{'Secrets Manager' if kind == 'secretsmanager' else 'SSM'} under {prefix or 'no prefix'}"
        self._prefix = prefix
        self._s3 = S3(settings)
        self._client = self._s3.client(kind)
        self._kind = kind
        errors = self._client.exceptions
        self._missing: Any = errors.ParameterNotFound if kind == "ssm" else errors.ResourceNotFoundException
        in_bucket = settings.lake_url.startswith("s3://")
        self._objects = Objects(settings.lake_url, self._s3.obstore() if in_bucket else None)

    def get(self, name: str) -> str | None:
        try:
            if self._kind == "ssm":
                answer = self._client.get_parameter(Name=self._prefix + name, WithDecryption=True)
                return str(answer["Parameter"]["Value"])
            return str(self._client.get_secret_value(SecretId=self._prefix + name)["SecretString"])
        except self._missing:
            return None

    def put(self, name: str, value: str) -> None:
        if self._kind == "ssm":
            # Advanced parameters hold 8 KB; a token of some systems is longer than the 4 KB of a standard one.
            self._client.put_parameter(
                Name=self._prefix + name, Value=value, Type="SecureString", Overwrite=True, Tier="Intelligent-Tiering"
            )
            return
        try:
            self._client.put_secret_value(SecretId=self._prefix + name, SecretString=value)
        except self._missing:
            self._client.create_secret(Name=self._prefix + name, SecretString=value)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        from datalake.lake.lease import lease

        with lease(self._objects, f"secrets/{name.lower()}", wait=LOCK_SECONDS):
            yield
