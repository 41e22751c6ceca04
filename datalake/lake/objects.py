"""The object store under the lake: a local folder or an S3 prefix, with put-if-absent on both.

Keys are relative to the lake's root, parts joined by `/`. What the objects mean does not live here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, S3Store


class AlreadyExists(Exception):
    """Another writer put this key first."""


class Objects:
    """Objects under one root.

    `url` is a folder (`/data/lake`, `file:///data/lake`) or `s3://bucket/prefix`; `s3` holds obstore's S3 settings
    (endpoint, region, keys), empty where the machine's own AWS settings are to be used.
    """

    def __init__(self, url: str, s3: dict[str, Any] | None = None) -> None:
        parsed = urlparse(url)
        self.local = parsed.scheme in ("", "file")
        self._store: LocalStore | S3Store
        if self.local:
            root = Path(parsed.path if parsed.scheme else url).expanduser().absolute()
            root.mkdir(parents=True, exist_ok=True)
            self.url = str(root)
            self._store = LocalStore(root)
        elif parsed.scheme == "s3":
            self.url = url.rstrip("/")
            self._store = S3Store(parsed.netloc, prefix=parsed.path.strip("/") or None, **(s3 or {}))
        else:
            raise ValueError(f"'{url}' is no lake: give a folder or s3://bucket/prefix")

    def uri(self, key: str) -> str:
        """Full address of a key, as DuckDB, pyiceberg and pyarrow read it."""
        return f"{self.url}/{key}"

    def put_new(self, key: str, body: bytes) -> None:
        """Create the object, all or nothing. Raises AlreadyExists if the key is taken: of two writers one wins."""
        try:
            obstore.put(self._store, key, body, mode="create")
        except AlreadyExistsError as error:
            raise AlreadyExists(key) from error

    def put(self, key: str, body: bytes) -> None:
        """Create or replace the object, all or nothing."""
        obstore.put(self._store, key, body)

    def writer(self, key: str, buffer_size: int = 8 * 1024 * 1024) -> obstore.WritableFile:
        """A file to write an object through; it appears whole when closed, and not at all if the process dies."""
        return obstore.open_writer(self._store, key, buffer_size=buffer_size)

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises FileNotFoundError."""
        return obstore.get(self._store, key).bytes().to_bytes()

    def stream(self, key: str, chunk_size: int = 4 * 1024 * 1024) -> Iterator[bytes]:
        """The object's bytes in pieces of at least `chunk_size` (the last may be shorter)."""
        for chunk in obstore.get(self._store, key).stream(min_chunk_size=chunk_size):
            yield bytes(chunk)

    def list(self, prefix: str, after: str | None = None) -> Iterator[str]:
        """Keys under a folder, in order; with `after` only those that sort behind it."""
        keys: list[str] = []
        for batch in obstore.list(self._store, prefix=prefix, offset=after):
            keys.extend(entry["path"] for entry in batch)
        yield from sorted(keys)

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of the folders right below a folder, in order."""
        found = obstore.list_with_delimiter(self._store, prefix=prefix)["common_prefixes"]
        return tuple(sorted(path.rstrip("/").rpartition("/")[2] for path in found))

    def delete(self, key: str) -> None:
        obstore.delete(self._store, key)
