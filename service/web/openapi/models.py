"""The schemas of pydantic models in the document."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

Object = dict[str, Any]
Mode = Literal["validation", "serialization"]

REF_TEMPLATE: Final = "#/components/schemas/{model}"


def example(values: Mapping[str, Any]) -> ConfigDict:
    """Return a model's configuration with an example; subclasses need their own."""
    # Built at its first use, because building all models is a tenth of the time to start.
    return ConfigDict(json_schema_extra={"examples": [dict(values)]}, defer_build=True)


@dataclass(frozen=True)
class SchemaKeyword:
    """A keyword of JSON Schema for what a validator checks."""

    keyword: str
    value: str

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema with the keyword."""
        return {**handler(core), self.keyword: self.value}


class PartialModel(BaseModel):
    """A partial change (PATCH): an omitted field keeps its value, and null is refused.

    pydantic needs a default for each field that may be omitted. The default is never used, so that
    the document does not show it.
    """

    def given(self) -> Object:
        """Return the fields that were sent."""
        return self.model_dump(exclude_unset=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema without defaults."""
        schema = handler(core)
        for member in handler.resolve_ref_schema(schema).get("properties", {}).values():
            member.pop("default", None)
        return schema


def has_required(model: type[BaseModel]) -> bool:
    """Whether a body must be sent: one with a required member, or of a partial change."""
    required = any(field.is_required() for field in model.model_fields.values())
    return required or issubclass(model, PartialModel)


class _Generator(GenerateJsonSchema):
    """A generator of schemas without titles that only repeat a member's name.

    Responses have no other members than those of their schema; requests may, and they are ignored.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return a schema without the default where clients would take the member for required.

        Generated TypeScript does, of a default that stands for an absent member.
        """
        described = super().default_schema(schema)
        if self.mode == "serialization" or described.get("default", ...) is None:
            described.pop("default", None)
        return described

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        model = super().model_schema(schema)
        if self.mode == "serialization" and "properties" in model:
            model.setdefault("additionalProperties", False)
        return model


class Schemas:
    """The schemas of all models, generated together so that each has a unique name."""

    def __init__(self, models: Iterable[tuple[type[BaseModel], Mode]]) -> None:
        self._refs, schemas = models_json_schema(
            list(dict.fromkeys(models)), ref_template=REF_TEMPLATE, schema_generator=_Generator
        )
        self.components: Mapping[str, Object] = schemas.get("$defs", {})

    def ref(self, model: type[BaseModel], mode: Mode) -> Object:
        """Return the reference to the schema of a model."""
        return dict(self._refs[model, mode])

    def members(self, model: type[BaseModel]) -> dict[str, Object]:
        """Return the members of a model of parameters, which are never null."""
        name = self.ref(model, "validation")["$ref"].rpartition("/")[2]
        members = self.components[name]["properties"]
        return {name: _without_null(member) for name, member in members.items()}


def _without_null(schema: Object) -> Object:
    if "anyOf" not in schema:
        return dict(schema)
    options = [option for option in schema["anyOf"] if option != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**rest, **options[0]} if len(options) == 1 else {**rest, "anyOf": options}
