"""Who may import whom: contracts say what, sources ask, treat interprets, lake stores, assets schedule."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import datalake

PACKAGE = Path(datalake.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

DAGSTER = {"definitions", "checks", "io_managers", "automation", "resources", "assets"}
"""Modules and packages that may import Dagster: all else runs and tests without it, and unchanged elsewhere."""

FOUNDATIONS = {"model", "settings", "secret_store", "redaction"}

ALLOWED = {
    "model": set[str](),
    "redaction": set[str](),
    "settings": {"secret_store", "redaction"},
    "secret_store": {"settings", "lake.objects", "lake.s3", "lake.lease"},
    "contracts": FOUNDATIONS,
    "lake": {*FOUNDATIONS, "contracts"},
    "sources": {*FOUNDATIONS, "lake.raw", "lake.objects", "lake.told", "lake.inbox"},
    "treat": {*FOUNDATIONS, "lake", "contracts"},
    "sandbox": {*FOUNDATIONS, "contracts", "sources", "webhooks"},
    "webhooks": {*FOUNDATIONS, "lake"},
    "pipeline": {*FOUNDATIONS, "lake", "sources", "treat"},
}
"""What each part may import of the package beside itself. Parts that are not named sit on top and may import anything."""


def _imports(path: Path) -> Iterator[str]:
    """Full names of all that a module imports, wherever in it, for types too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide what is imported"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _within(name: str, parts: set[str]) -> bool:
    return any(name == f"datalake.{part}" or name.startswith(f"datalake.{part}.") for part in parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_layers(path: Path) -> None:
    part = _part(path)
    for name in _imports(path):
        if name.split(".")[0] in ("dagster", "dagster_aws", "dagster_shared"):
            assert part in DAGSTER, f"{path.name} imports {name}: only {', '.join(sorted(DAGSTER))} may"
        if name.startswith("datalake.") and part in ALLOWED:
            assert _within(name, ALLOWED[part] | {part}), f"datalake.{part} may not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_opens_with_what_lives_there(path: Path) -> None:
    text = path.read_text()
    assert not text or ast.get_docstring(ast.parse(text)), "a module opens with one sentence: what lives here, what does not"


def test_only_settings_reads_the_environment() -> None:
    passes_it_on = {"demo"}
    """Children of the demo inherit the environment as a whole."""
    readers = {
        _part(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert readers <= {"settings"} | passes_it_on


def test_the_map_stays_a_map() -> None:
    definitions = PACKAGE / "definitions.py"
    assert len(definitions.read_text().splitlines()) <= 80
    branches = (ast.If, ast.For, ast.While, ast.Try, ast.With)
    assert not [node for node in ast.walk(ast.parse(definitions.read_text())) if isinstance(node, branches)]
