"""From pydantic models to the document's schemas."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]

REF_TEMPLATE: Final = "#/components/schemas/{model}"


def example(values: Mapping[str, Any]) -> ConfigDict:
    """A model's configuration with an example for the document; subclasses need their own."""
    return ConfigDict(json_schema_extra={"examples": [dict(values)]})


@dataclass(frozen=True)
class SchemaKeyword:
    """Tells in JSON Schema what a validator checks."""

    keyword: str
    value: str

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the keyword."""
        return {**handler(core), self.keyword: self.value}


class PartialModel(BaseModel):
    """A change of some fields: what is left out stays, null is refused.

    Fields need a default, for pydantic to let them be left out; it is never a value that is
    used, and so the document does not show it.
    """

    def given(self) -> dict[str, Any]:
        """The fields that were sent."""
        return self.model_dump(exclude_unset=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Leave the defaults out."""
        schema = handler(core)
        for member in handler.resolve_ref_schema(schema).get("properties", {}).values():
            member.pop("default", None)
        return schema


class _Generator(GenerateJsonSchema):
    """Schemas without the titles that only repeat a member's name.

    What the service answers has exactly the members told; unknown ones that it gets are ignored.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        if self.mode == "serialization" and "properties" in made:
            made.setdefault("additionalProperties", False)
        return made


class Schemas:
    """The schemas of all models of the document, made at once so that no two share a name."""

    def __init__(self, models: Iterable[tuple[type[BaseModel], Mode]]) -> None:
        self._refs, made = models_json_schema(
            list(dict.fromkeys(models)), ref_template=REF_TEMPLATE, schema_generator=_Generator
        )
        self.components: Mapping[str, Schema] = made.get("$defs", {})

    def ref(self, model: type[BaseModel], mode: Mode) -> Schema:
        """The reference to a model's schema."""
        return dict(self._refs[model, mode])

    def members(self, model: type[BaseModel]) -> dict[str, Schema]:
        """The members of a model that comes in as parameters, which are never null."""
        name = self.ref(model, "validation")["$ref"].rpartition("/")[2]
        members = self.components[name]["properties"]
        return {name: _without_null(member) for name, member in members.items()}


def _without_null(schema: Schema) -> Schema:
    if "anyOf" not in schema:
        return dict(schema)
    rest = [option for option in schema["anyOf"] if option != {"type": "null"}]
    found = {key: value for key, value in schema.items() if key != "anyOf"}
    if found.get("default", ...) is None:
        del found["default"]
    return {**found, **rest[0]} if len(rest) == 1 else {**found, "anyOf": rest}
