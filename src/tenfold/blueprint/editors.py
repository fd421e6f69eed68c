"""The JSON Schema of a blueprint, for editors, made from `parts`. It tells what each key may look like; `load` tells
whether all fits together."""

from typing import Any

from tenfold.blueprint.parts import BLUEPRINT, OVERRIDES
from tenfold.blueprint.shape import NO_DEFAULT, Either, Key, Kind, ListOf, MapOf, Section, TupleOf, default_of, written
from tenfold.blueprint.units import Unit

Json = dict[str, Any]


def schema() -> Json:
    """The JSON Schema (draft 2020-12) of `tenfold.yaml`."""
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Tenfold blueprint"}
    return about | _section(BLUEPRINT, None, is_override=False)


def _section(section: Section, around: type[Any] | None, *, is_override: bool) -> Json:
    """`around` is what the section around this one becomes. An override need not repeat what is required."""
    build = section.build or around
    is_override = is_override or section is OVERRIDES
    described: Json = {
        "type": "object",
        "properties": {key.name: _key(key, build, is_override=is_override) for key in section.keys},
        "additionalProperties": False,
    }
    required = [key.name for key in section.keys if key.is_required]
    return described if is_override or not required else described | {"required": required}


def _key(key: Key, build: type[Any] | None, *, is_override: bool) -> Json:
    described = _kind(key.kind, build, is_override=is_override) | {"description": key.doc}
    default = default_of(build, key)
    if key.derived:
        described["description"] += f" By default: {key.derived}."
    elif isinstance(key.kind, Unit) and default not in (NO_DEFAULT, None):
        described["default"] = written(key.kind, default)
    return described


def _kind(kind: Kind, around: type[Any] | None, *, is_override: bool) -> Json:
    match kind:
        case Unit():
            text: Json = {"type": "string", "pattern": _whole(kind), "examples": [kind.example]}
            return {"anyOf": [*({"type": name} for name in kind.json_types), text]} if kind.json_types else text
        case ListOf():
            unique = {"uniqueItems": True} if kind.is_set else {}
            return {"type": "array", "items": _kind(kind.item, None, is_override=is_override)} | unique
        case TupleOf():
            items = [_kind(item, None, is_override=is_override) for item in kind.items]
            return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
        case MapOf():
            return {
                "type": "object",
                "propertyNames": {"pattern": _whole(kind.key)},
                "properties": {name: _kind(known, None, is_override=is_override) for name, known in kind.known.items()},
                "additionalProperties": _kind(kind.item, None, is_override=is_override),
            }
        case Section():
            return _section(kind, around, is_override=is_override)
        case Either():
            both = (kind.short, kind.whole)
            return {"anyOf": [_kind(each, None, is_override=is_override) for each in both]}


def _whole(unit: Unit) -> str:
    return f"^(?:{unit.pattern})$"
