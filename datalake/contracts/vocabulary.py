"""The words a contract may use, each with its meaning; reading contracts and checking them lives beside this file."""

from __future__ import annotations

MOST_HEAD_KEYS = 14
"""A head must fit on half a screen; what does not fit belongs into code or into the vendor's page."""

HEAD = {
    "table": "Name of the table, the file's name without .yaml.",
    "doc": "Page of the vendor that describes the rows.",
    "about": "What one row is, in plain words.",
    "tier": "`core` (on by default) or `extended` (on by setting).",
    "path": "Where the source serves it; parts in braces are filled in by the rows function.",
    "params": "Fixed parameters of the request. What depends on state is added by the rows function.",
    "records": "Where the records sit in an answer, or in the parent's record; overrides the source's.",
    "rows": "Name of the function in `datalake/sources/<source>.py` that reads the rows.",
    "key": "Columns that tell one row from another.",
    "no_key": "Why the table has no key; stands in place of `key`.",
    "cursor": "Column that orders the incremental reading.",
    "parent": "Table of the same source whose raw log drives this one.",
    "also": "Further tables whose raw logs it reads beside its parent's.",
    "events": "Events of the source that tell of changed rows.",
    "partition": "`month(column)`: the treated table is cut by month of that date. Big tables only.",
    "class": "Classification of the table, and of each of its columns that says nothing else.",
    "secrets": "Dotted paths in the record that are dropped before anything is stored; `*` stands for every element.",
    "ignore": "Fields of the record, `*` as wildcard, that are neither columns nor worth a place in `_unmapped`.",
    "deletes": "How rows go away at the source.",
    "owners": "`technical` and `business`: addresses in place of the source's.",
    "note": "What a reader of the table or of its extraction must know.",
    "fresh_within_hours": "Promise: the table is never older; in place of the source's.",
    "columns": "The columns, one line each.",
}

COLUMN = {
    "type": "Type of the column.",
    "about": "What the value means.",
    "from": "Path in the record as received, where it differs from the column's name; `$request.name`: fact of the request.",
    "null": "`no`: a row without a value is refused.",
    "class": "Classification, where it differs from the table's.",
    "pii": "Kind of personal data; makes the column restricted unless `class` says otherwise.",
    "mask": "What the masked twin shows; follows from `pii` unless said otherwise.",
    "unit": "Unit of a number: `minor units of <currency column>`; of a timestamp: `seconds` or `milliseconds`.",
    "refers": "Column this one points at: `table.column`, or `source.table.column`.",
    "values": "The values the source promises to send, complete.",
}

SOURCE = {
    "source": "Name of the source, the folder's name.",
    "title": "Name people know it by.",
    "about": "What it is and what of it is read.",
    "doc": "The vendor's description of the API.",
    "base_url": "Address of the API; a setting points elsewhere.",
    "cadence": "When it is read: cron, UTC.",
    "timestamps": "How numbers stand for points in time: `seconds` or `milliseconds`. ISO 8601 text is always read.",
    "json": "`extended` where values that JSON has no type for come as MongoDB's Extended JSON, such as {$oid: …}.",
    "empty": "`none` where empty text is no value in columns that are no text, and 0 no point in time. Else it does not fit.",
    "zone": "Offset from UTC of text that names a moment without one, such as -03:00 or Z. Without it such text does not fit.",
    "records": "Where the records of a list sit in an answer.",
    "ignore": "Fields that no table of the source keeps; as `ignore` of a table.",
    "fresh_within_hours": "Promise for every table that makes no other. 26 where nothing is said.",
    "technical_owner": "Who answers for the data's arrival.",
    "business_owner": "Who answers for the data's meaning.",
}

TIERS = ("core", "extended")

PII = {
    "name": "name of a person",
    "email": "e-mail address",
    "phone": "telephone number, WhatsApp id",
    "address": "postal address or a part of it",
    "location": "place of a person or a device",
    "birth": "date or place of birth",
    "document": "number of a document or tax payer",
    "bank": "bank account or a part of it",
    "card": "payment card or a part of it",
    "ip": "network address",
    "handle": "account name by which a person is known",
    "image": "picture of a person",
    "demographic": "gender, nationality and the like",
    "person": "record of a person with several of these",
    "free_text": "text or fields people fill in freely",
}
"""Kinds of personal data."""

MASKS = {
    "hmac": "a pseudonym, the same for the same value, so that rows still join",
    "hide": "nothing",
}
"""What the masked twin of a table shows in place of a value."""

JOINABLE = frozenset({"name", "email", "phone", "document", "bank", "card", "ip", "handle"})
"""Kinds of personal data whose text is masked by a pseudonym; all others are hidden."""

TIME_UNITS = ("seconds", "milliseconds")
