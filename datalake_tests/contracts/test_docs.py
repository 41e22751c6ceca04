"""Generated pages and schemas are current, and every word of a contract is explained."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml

from datalake import contracts
from datalake.contracts.docs import generated
from datalake.contracts.vocabulary import COLUMN, HEAD, MASKS, MOST_HEAD_KEYS, PII, SOURCE

PAGE = (contracts.FOLDER.parent.parent / "docs" / "contract.md").read_text()


def test_generated_files_are_current() -> None:
    for file, text in generated().items():
        assert file.read_text() == text, f"{file} is out of date: run `make docs`"


def test_every_table_has_its_line_in_the_list() -> None:
    page = next(text for file, text in generated().items() if file.name == "tables.md")
    lines = [line for line in page.splitlines() if line.startswith("| [")]
    assert len(lines) == 508
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 8 for line in lines), "seven cells a line"
    assert any(line.startswith("| [charges](https://docs.stripe.com/api/charges) | core |") for line in lines)


def explained(heading: str) -> set[str]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return {key for line in section.splitlines() if line.startswith("| ") for key in re.findall(r"`(\w+)`", line.split("|")[1])}


@pytest.mark.parametrize(
    "heading, words",
    [
        ("The head of a table", HEAD),
        ("A column", COLUMN),
        ("A source: `_source.yaml`", SOURCE),
        ("Classes and personal data", PII),
    ],
)
def test_every_key_is_explained_and_nothing_else(heading: str, words: dict[str, str]) -> None:
    assert explained(heading) == set(words)


def test_masks_and_limits_are_explained() -> None:
    assert all(f"`{mask}`" in PAGE for mask in MASKS)
    assert f"at most {MOST_HEAD_KEYS} keys" in PAGE


@pytest.mark.parametrize("kind", ["contract", "source"])
def test_every_contract_satisfies_the_schema_of_the_editors(kind: str) -> None:
    schema = json.loads((contracts.FOLDER / f"{kind}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    files = sorted(contracts.FOLDER.glob("*/_source.yaml" if kind == "source" else "*/[a-z]*.yaml"))
    assert len(files) == {"source": 8, "contract": 508}[kind]
    wrong = [
        f"{file}: {error.message}"
        for file in files
        for error in validator.iter_errors(yaml.load(file.read_text(), yaml.CBaseLoader))
    ]
    assert wrong == []


def test_the_example_of_the_page_is_a_contract() -> None:
    example = PAGE.split("```yaml\n")[1].split("```")[0]
    schema = json.loads((contracts.FOLDER / "contract.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(yaml.load(example, yaml.CBaseLoader))
