"""Make the files here from Meta's published ones: what 360dialog passes on of them. Run by hand when those are renewed.

    python datalake_tests/specs/dialog_360/derive.py meta-business-messaging-api_v23.0.yaml webhook_examples

The first is Meta's OpenAPI description (github.com/facebook/openapi); `schema.json` keeps the answers and the webhook body that
the stand-in makes, as JSON Schema without descriptions. It describes a message that comes in by the members of one that goes
out, and so refuses Meta's own examples: what only the latter must have is not required here. The second is a folder of example
webhook bodies (Meta's documentation, as kept by the tests of david-lev/pywa); `webhooks.json` holds them all by name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ANSWERS = {
    "business_profiles": "/{Version}/{Phone-Number-ID}/whatsapp_business_profile",
    "flows": "/{Version}/{WABA-ID}/flows",
    "media": "/{Version}/{Media-ID}",
    "phone_numbers": "/{Version}/{WABA-ID}/phone_numbers",
}
KEPT = ("$ref", "type", "properties", "items", "required", "enum", "format", "oneOf", "anyOf", "allOf", "nullable")


def schema(spec: dict[str, Any]) -> dict[str, Any]:
    """The wanted schemas by name, and what they refer to."""
    found = {name: spec["paths"][path]["get"]["responses"]["200"] for name, path in ANSWERS.items()}
    wanted = {name: answer["content"]["application/json"]["schema"] for name, answer in found.items()}
    wanted["webhook"] = spec["paths"]["/whatsapp/webhooks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    definitions: dict[str, Any] = {}

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(each) for each in node]
        if not isinstance(node, dict):
            return node
        kept: dict[str, Any] = {}
        for key, value in node.items():
            if key == "properties":
                kept[key] = {name: plain(each) for name, each in value.items()}
            elif key == "$ref":
                name = value.rpartition("/")[2]
                kept[key] = f"#/$defs/{name}"
                if name not in definitions:
                    definitions[name] = {}
                    definitions[name] = plain(spec["components"]["schemas"][name])
            elif key in KEPT:
                kept[key] = plain(value)
        if kept.pop("nullable", False) and "type" in kept:
            kept["type"] = [kept["type"], "null"]
        return kept

    wanted = {name: plain(node) for name, node in wanted.items()}
    del definitions["BaseMessageProperties"]["required"]
    return {"answers": wanted, "$defs": definitions}


def examples(folder: Path) -> dict[str, Any]:
    """Every body as `<file>.<name>`. Where one file puts a second body inside the first, each gets a name."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        for name, body in json.loads(file.read_text()).items():
            inside = body.pop("all", None)
            found[f"{file.stem}.{name}"] = body
            if inside is not None:
                found[f"{file.stem}.{name}_all"] = inside
    return found


if __name__ == "__main__":
    spec = yaml.load(Path(sys.argv[1]).read_text(), yaml.CSafeLoader)
    (HERE / "schema.json").write_text(json.dumps(schema(spec), indent=1) + "\n")
    (HERE / "webhooks.json").write_text(json.dumps(examples(Path(sys.argv[2])), indent=1) + "\n")
