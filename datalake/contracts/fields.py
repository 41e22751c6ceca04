"""The keys and values of a YAML mapping with their places in the file; what they mean to a contract lives in `reading`.

Files are composed by libyaml with every scalar left as text, so `no`, `on` and `0123` stay what they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

import yaml

T = TypeVar("T")


class ContractError(ValueError):
    """A contract says something that cannot be. Reads `file:line: field: what; what to write instead`."""


class _Texts(yaml.CBaseLoader):
    """Gives every scalar as text; leaving out YAML's search for types saves a third of the time."""

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: object) -> str:  # noqa: ARG002 - the signature is PyYAML's
        return _TAGS[kind]

    def descend_resolver(self, current_node: yaml.Node | None, current_index: object) -> None: ...

    def ascend_resolver(self) -> None: ...


_TAGS = {
    yaml.ScalarNode: "tag:yaml.org,2002:str",
    yaml.SequenceNode: "tag:yaml.org,2002:seq",
    yaml.MappingNode: "tag:yaml.org,2002:map",
}


def compose(file: Path) -> yaml.Node:
    """The file as nodes with their places. Raises ContractError where it is no YAML or empty."""
    try:
        node = yaml.compose(file.read_bytes(), Loader=_Texts)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ContractError(f"{file}:{line}: {error.problem or error.context}; quote texts that hold ', ' or ': '") from error
    except yaml.YAMLError as error:
        raise ContractError(f"{file}:1: {' '.join(str(error).split())}; write YAML in UTF-8") from error
    if node is None:
        raise ContractError(f"{file}:1: the file is empty; write the contract, or remove the file")
    return node


class Fields:
    """The keys of one mapping: each known (any, where `known` is None), none twice."""

    __slots__ = ("file", "name", "node", "values")

    def __init__(self, file: Path, name: str, node: yaml.Node, known: Collection[str] | None) -> None:
        self.file = file
        self.name = name
        self.node = node
        self.values: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, name, "is no mapping", "write key: value")
        for key, value in node.value:
            text = key.value
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(key, name, "has a key that is no plain text", "write key: value")
            if text in self.values:
                self._wrong(key, self._path(text), "stands twice", "keep one of them")
            if known is not None and text not in known:
                comma = "" if value.value else "quote the text before it if that holds a comma, or "
                self._wrong(key, self._path(text), "is no key of a contract", f"{comma}use {', '.join(known)}")
            self.values[text] = value

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def refuse(self, key: str, what: str, instead: str) -> NoReturn:
        """Raise at the key, or at the mapping's start where the key is missing."""
        self._wrong(self.values.get(key, self.node), self._path(key), what, instead)

    def text(self, key: str, default: str | None = None) -> str:
        """The text of a key; without `default` it must be there and hold something."""
        node = self.values.get(key)
        if node is None:
            if default is None:
                self.refuse(key, "is missing", "add it")
            return default
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(key, "is a list or a mapping", "write one text")
        text: str = node.value
        if not text and default is None:
            self.refuse(key, "is empty", "write its text")
        return text

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where the key is missing."""
        node = self.values.get(key)
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.refuse(key, "is no list with something in it", "write [a, b]")
        texts = tuple(item.value if isinstance(item, yaml.ScalarNode) else "" for item in node.value)
        if not all(texts):
            self.refuse(key, "holds something that is no text", "write [a, b]")
        if len(set(texts)) != len(texts):
            self.refuse(key, "names something twice", "keep one of them")
        return texts

    def is_list(self, key: str) -> bool:
        return isinstance(self.values.get(key), yaml.SequenceNode)

    def text_or_texts(self, key: str) -> tuple[str, ...]:
        """One text, or a list of them."""
        return self.texts(key) if self.is_list(key) else (self.text(key),)

    def choice(self, key: str, choices: Mapping[str, T], default: str | None = None) -> T:
        """What one of a closed list of words stands for."""
        text = self.text(key, default)
        if text not in choices:
            self.refuse(key, f"'{text}' is unknown", f"use {', '.join(choices)}")
        return choices[text]

    def match(self, key: str, pattern: str, instead: str, default: str | None = None) -> str:
        text = self.text(key, default)
        if not re.fullmatch(pattern, text):
            self.refuse(key, f"'{text}' does not fit", instead)
        return text

    def mapping(self, key: str, known: Collection[str] | None) -> Fields:
        """The mapping under a key; an empty one where the key is missing."""
        node = self.values.get(key)
        if node is None:
            node = yaml.MappingNode("tag:yaml.org,2002:map", [], self.node.start_mark, self.node.end_mark)
        return Fields(self.file, self._path(key), node, known)

    def _path(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _wrong(self, node: yaml.Node, field: str, what: str, instead: str) -> NoReturn:
        place = f"{field}: " if field else ""
        raise ContractError(f"{self.file}:{node.start_mark.line + 1}: {place}{what}; {instead}")
