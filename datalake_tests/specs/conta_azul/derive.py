"""Derives schema.json here from Conta Azul's OpenAPI files: `python derive.py <folder of the original *.yml files>`.

The files are those that developers.contaazul.com offers for financial events, sales, quotes and contracts (as archived by
api-evangelist/conta-azul on 2026-07-18). People, products, services and invoices have no public description.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

FILES = {
    "financial": [
        "ContaAReceber", "ContaAPagar", "Parcela", "Evento", "Rateio", "RateioCentroCusto", "Baixa", "AnexoParcela",
        "SolicitacaoCobranca", "Categoria", "ConfiguracaoPadraoCategoria", "ContaFinanceira", "CentroDeCusto", "CategoriaDRE",
        "CategoriaFinanceira", "SaldoAtualResponse", "TransferenciaContaFinanceira", "SaldoInicialContaFinanceira",
        "EventoFinanceiro",
    ],
    "sales": ["Venda", "ObterVendaResponse", "Item", "Vendedor", "ParcelaNegociacao"],
    "proposal": ["ItemOrcamentoPorFiltro", "Orcamento", "ItemOrcamento"],
    "scheduled-sales": ["ItemContrato", "ContratoResumo"],
}  # fmt: skip


def plain(schema: Any, file: str) -> Any:
    """A schema as JSON Schema 2020-12: no prose, references into this file, no field that is not described."""
    if isinstance(schema, list):
        return [plain(item, file) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{file}.{schema['$ref'].rsplit('/', 1)[1]}"}
    kept = {"type", "enum", "properties", "items", "required", "allOf", "nullable"}
    made = {
        name: {key: plain(inner, file) for key, inner in value.items()} if name == "properties" else plain(value, file)
        for name, value in schema.items()
        if name in kept
    }
    if made.pop("nullable", False):
        made["type"] = [made["type"], "null"]
    if "properties" in made:
        made["additionalProperties"] = False
    return made


def references(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for item in schema for name in references(item)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].removeprefix("#/$defs/")} if "$ref" in schema else set()
    return own.union(*(references(inner) for inner in schema.values()))


def derive(folder: Path) -> dict[str, Any]:
    read = {file: yaml.safe_load((folder / f"conta-azul-{file}-openapi.yml").read_text()) for file in FILES}
    every = {
        f"{file}.{name}": plain(schema, file)
        for file, spec in read.items()
        for name, schema in spec["components"]["schemas"].items()
    }
    wanted = [f"{file}.{name}" for file, names in FILES.items() for name in names]
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += references(every[name])
    parameters = {
        path: {each["name"]: bool(each.get("required")) for each in _parameters(read[file], operations["get"])}
        for file in FILES
        for path, operations in read[file]["paths"].items()
        if "get" in operations
    }
    return {"parameters": parameters, "$defs": {name: every[name] for name in sorted(found)}}


def _parameters(spec: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for each in operation.get("parameters", []):
        place = spec
        for step in each["$ref"][2:].split("/") if "$ref" in each else ():
            place = place[step]
        found.append(place if "$ref" in each else each)
    return [each for each in found if each["in"] == "query"]


if __name__ == "__main__":
    text = json.dumps(derive(Path(sys.argv[1])), indent=1, ensure_ascii=False, sort_keys=True)
    (Path(__file__).parent / "schema.json").write_text(text + "\n")
