"""What the documents of a collection look like: the types of each field in a sample. Contracts are written elsewhere."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bson import Binary, Code, Decimal128, Int64, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS

from datalake.sources.base import Permanent
from datalake.sources.mongodb_json import EXACT
from datalake.sources.mongodb_run import MongoRun

NEVER = (
    "system.*",
    "meteor_accounts_loginServiceConfiguration",
    "rocketchat_credential_tokens",
    "rocketchat_oauth_access_tokens",
    "rocketchat_webdav_accounts",
    "rocketchat_login_codes",
    "usersSessions",
    "rocketchat_federation_keys",
    "ufsTokens",
    "rocketchat_avatars*",
    "*.chunks",
)
"""Collections that hold nothing but secrets, or files, or belong to the server."""
SECRET = re.compile(
    r"pass(word|wd|phrase)?$|passw|secret|token|credential|private_?key|api_?key|bcrypt|_hash$|salt$", re.IGNORECASE
)
"""Names that tell of a secret."""
_EXACT_FLOAT = 2**53


@dataclass
class Sample:
    """The fields of some documents: how many hold each type, by the contract's types; `null` where there was no value."""

    database: str
    collection: str
    total: int
    """Documents of the whole collection, about."""
    documents: int = 0
    fields: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    secrets: set[str] = field(default_factory=set)
    """Paths whose name tells of a secret."""
    scales: Counter[str] = field(default_factory=Counter)
    """Most digits behind the point of each decimal field."""


def sample(run: MongoRun, database: str, name: str, size: int) -> Sample:
    """Look at `size` documents picked by chance. Raises Permanent where the collection is not to be read, or empty."""
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in NEVER):
        raise Permanent(f"{name} holds secrets, files or the server's own records, and is not read into the lake")
    with run.told(f"the collection {database}.{name}"):
        collection = run.client[database].get_collection(name, codec_options=EXACT)
        found = Sample(database, name, collection.estimated_document_count())
        for document in collection.aggregate([{"$sample": {"size": size}}], batchSize=100):
            found.documents += 1
            for key, value in document.items():
                if SECRET.search(key):
                    found.secrets.add(key)
                else:
                    found.fields[key][_type(found, key, value)] += 1
                    found.secrets.update(_secrets(value, (key,)))
        if not found.documents:
            others = ", ".join(sorted(run.client[database].list_collection_names())) or "none"
            raise Permanent(f"{database}.{name} is empty or missing, so there is nothing to go by. Collections there: {others}")
    return found


def _type(found: Sample, key: str, value: Any) -> str:
    """The contract's type that takes the value exactly."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case Int64() | int():
            return "int64" if abs(value) <= _EXACT_FLOAT else "int64 beyond float64"
        case float():
            return "float64"
        case Decimal128():
            return _decimal(found, key, value)
        case DatetimeMS():
            return "timestamp" if -62135596800000 <= int(value) <= 253402300799999 else "json"
        case Code(scope=None) | str():
            return "string"
        case ObjectId():
            return "string of ObjectId"
        case Binary(subtype=0 | 4):
            return f"string of binary data ({value.subtype})"
        case Timestamp():
            return "struct{t:int64,i:int64}"
        case list():
            inner = {_type(found, key, item) for item in value} - {"null"}
            [only] = inner if len(inner) == 1 else ["" if not inner else "json"]
            return "list" if not only else f"list<{plain(only)}>" if plain(only) in _SIMPLE else "json"
    return "json"


_SIMPLE = {"string", "int64", "float64", "bool", "timestamp"}


def plain(type_: str) -> str:
    """The contract's type, without what tells where it comes from."""
    return "int64" if type_.startswith("int64") else "string" if type_.startswith("string") else type_


def _decimal(found: Sample, key: str, value: Decimal128) -> str:
    number: Decimal = value.to_decimal()
    if not number.is_finite():
        return "json"
    exponent = number.as_tuple().exponent
    scale = max(0, -exponent) if isinstance(exponent, int) else 0
    found.scales[key] = max(found.scales[key], scale)
    return "decimal" if scale <= 20 and number.adjusted() < 18 else "json"


def _secrets(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Paths of secrets inside a value; `*` stands for the elements of a list."""
    items: Iterable[tuple[str, Any]] = (
        value.items() if isinstance(value, dict) else (("*", item) for item in value) if isinstance(value, list) else ()
    )
    for name, inner in items:
        if name != "*" and SECRET.search(name):
            yield ".".join((*path, name))
        else:
            yield from _secrets(inner, (*path, name))
