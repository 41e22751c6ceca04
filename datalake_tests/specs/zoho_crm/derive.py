"""Derives schema.json here from Zoho's OpenAPI files: `python derive.py <folder of v8.0's *.json files>`.

The files are those of github.com/zoho/crm-oas, v8.0 (commit 45dff2cc). Kept are the answers to the calls that the lake makes:
names and types of members, and which an answer must have around its rows. Left out are prose, lists of values (the description
has not all of them), and what is required inside rows: members of modules differ by organisation. Null is allowed everywhere,
as the API has it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ANSWERS = {
    "deleted_records": ("record", "/crm/v8/{module_api_name}/deleted"),
    "records": ("record", "/crm/v8/{module_api_name}"),
    "export_job": ("bulk_read", "/crm/bulk/v8/read/{job_id}"),
    "assignment_rules": ("assignment_rules", "/crm/v8/settings/automation/assignment_rules"),
    "attachments": ("attachments", "/crm/v8/{module}/{record_id}/Attachments"),
    "business_hours": ("business_hours", "/crm/v8/settings/business_hours"),
    "contact_roles": ("contact_roles", "/crm/v8/Contacts/roles"),
    "currencies": ("currencies", "/crm/v8/org/currencies"),
    "custom_views": ("custom_views", "/crm/v8/settings/custom_views"),
    "email_templates": ("email_templates", "/crm/v8/settings/email_templates"),
    "entity_scores": ("entity_scores", "/crm/v8/Entity_Scores__s"),
    "fields": ("fields", "/crm/v8/settings/fields"),
    "fiscal_year": ("fiscal_year", "/crm/v8/settings/fiscal_year"),
    "global_picklists": ("global_picklists", "/crm/v8/settings/global_picklists"),
    "holidays": ("holidays", "/crm/v8/settings/holidays"),
    "layouts": ("layouts", "/crm/v8/settings/layouts"),
    "modules": ("modules", "/crm/v8/settings/modules"),
    "organization": ("org", "/crm/v8/org"),
    "pipelines": ("pipeline", "/crm/v8/settings/pipeline"),
    "profiles": ("profiles", "/crm/v8/settings/profiles"),
    "record_emails": ("email_related_records", "/crm/v8/{module_name}/{record_id}/Emails"),
    "record_timeline": ("timelines", "/crm/v8/{module}/{record_id}/__timeline"),
    "related_lists": ("related_lists", "/crm/v8/settings/related_lists"),
    "roles": ("roles", "/crm/v8/settings/roles"),
    "scoring_rules": ("scoring_rules", "/crm/v8/settings/automation/scoring_rules"),
    "tags": ("tags", "/crm/v8/settings/tags"),
    "territories": ("territories", "/crm/v8/settings/territories"),
    "user_groups": ("user_groups", "/crm/v8/settings/user_groups"),
    "user_territories": ("users_territories", "/crm/v8/users/{user}/territories"),
    "users": ("users", "/crm/v8/users"),
    "variables": ("variables", "/crm/v8/settings/variables"),
}
"""What is asked for -> file and path of the description."""

MISNAMED = {"/crm/v8/settings/user_groups": "Response_Wrapper"}
"""Paths whose answer the description takes for another one."""
UNSAID = {"users.time_zone"}
"""Members that are said to be objects without members; time zones are texts (America/Sao_Paulo) in Zoho's own examples."""


class Description:
    """The files, and the schemas that were met on the way, plain and by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Any] = {}
        self.met: dict[str, Any] = {}

    def read(self, file: str) -> Any:
        if file not in self.files:
            self.files[file] = json.loads((self.folder / f"{file}.json").read_text())
        return self.files[file]

    def at(self, file: str, ref: str) -> tuple[str, Any, str]:
        """The file and value that a reference points at, and its name."""
        place, _, pointer = ref.partition("#/")
        file = Path(place).stem if place else file
        value = self.read(file)
        for step in pointer.split("/"):
            value = value[step]
        return file, value, f"{file}.{pointer.rsplit('/', 1)[1]}"

    def answer(self, file: str, path: str) -> Any:
        if path in MISNAMED:
            return self.plain({"$ref": f"#/components/schemas/{MISNAMED[path]}"}, file, top=True)
        response = self.read(file)["paths"][path]["get"]["responses"]["200"]
        if "$ref" in response:
            file, response, _ = self.at(file, response["$ref"])
        return self.plain(response["content"]["application/json"]["schema"], file, top=True)

    def plain(self, schema: Any, file: str, *, top: bool = False) -> Any:
        """A schema as JSON Schema 2020-12; `top` where it stands around the rows."""
        if "$ref" in schema:
            file, target, name = self.at(file, schema["$ref"])
            if top:
                return self.plain(target, file, top=True)
            if name not in self.met:
                self.met[name] = {}
                self.met[name] = self.plain(target, file)
            return {"$ref": f"#/$defs/{name}"}
        for choice in ("oneOf", "anyOf", "allOf"):
            if choice in schema:
                made = [self.plain(each, file, top=top) for each in schema[choice]]
                made = [each for each in made if "code" not in each.get("properties", {})] if top else made
                return made[0] if len(made) == 1 else {"anyOf" if choice == "oneOf" else choice: made}
        made = {}
        if "type" in schema:
            made["type"] = schema["type"] if top else [schema["type"], "null"]
        if "items" in schema:
            made["items"] = self.plain(schema["items"], file)
        if "properties" in schema:
            made["properties"] = {
                name: {} if f"{file}.{name}" in UNSAID else self.plain(each, file)
                for name, each in schema["properties"].items()
            }
        if top and schema.get("required"):
            made["required"] = schema["required"]
        return made


def derive(folder: Path) -> dict[str, Any]:
    description = Description(folder)
    answers = {name: description.answer(*where) for name, where in ANSWERS.items()}
    return {"answers": answers, "$defs": dict(sorted(description.met.items()))}


if __name__ == "__main__":
    text = json.dumps(derive(Path(sys.argv[1])), indent=0, separators=(",", ":"), ensure_ascii=False)
    (Path(__file__).parent / "schema.json").write_text(text + "\n")
