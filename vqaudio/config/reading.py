"""From a YAML file to a checked section."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from vqaudio.config.section import Section
from vqaudio.errors import UserError

S = TypeVar("S", bound=Section)


class Loader(yaml.SafeLoader):
    """Takes 1e-3 for a number, as YAML 1.2 does; for PyYAML, which is of 1.1, it is a word."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_section(schema: type[S], values: Any, source: str) -> S:
    """Check plain values against a schema.

    Args:
        schema: the section that they must be.
        values: what YAML gave.
        source: what to call them in an error: a file's path.

    Raises:
        UserError: naming the source, the key and what is wrong with it.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {_said(values, error.errors()[0])}") from None


def _said(values: Any, error: Mapping[str, Any]) -> str:
    """An error as `key: what is wrong with it`."""
    keys, section = _keys(values, error["loc"])
    message = error["msg"]
    match error["type"]:
        case "value_error":  # of a check of ours, which names a key of its section
            key, _, message = message.removeprefix("Value error, ").partition(": ")
            keys.append(key)
        case "extra_forbidden":
            kind = section.get("kind") if isinstance(section, dict) else None
            message = "no such key" + (f" where kind is {kind}" if kind else "")
        case "union_tag_invalid":
            keys.append("kind")
            message = f"{error['ctx']['tag']} is none of {error['ctx']['expected_tags']}"
        case "missing":
            message = "missing"
        case "model_type" | "model_attributes_type":
            message = "not a mapping"
        case "union_tag_not_found":
            keys.append("kind")
            message = "missing"
    return f"{'.'.join(keys)}: {message}" if keys else message


def _keys(values: Any, place: tuple[str | int, ...]) -> tuple[list[str], Any]:
    """A place in YAML as its keys, and what the last of them is in.

    Pydantic also names the `kind` of a section, which is no key.
    """
    keys, section = [], None
    for part in place:
        if isinstance(values, dict) and part == values.get("kind") and part not in values:
            continue
        keys.append(str(part))
        section = values
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
    return keys, section


def read_recipe(schema: type[S], path: str | Path, overrides: list[str] | None = None) -> S:
    """Read a YAML recipe, with `key.of.a.section=value` overrides on top.

    Args:
        schema: `CodecRecipe` or `PriorRecipe`.
        path: the YAML file.
        overrides: each parsed as YAML after its first `=`; `*` in a key is every item of a list.

    Raises:
        UserError: the file is missing or is not YAML, or a key is unknown or impossible.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a YAML mapping")
    for override in overrides or []:
        _override(values, override)
    return parse_section(schema, values, str(path))


def _override(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign:
        raise UserError(f"{override}: an override is written key=value")
    try:
        value = yaml.load(text, Loader)
    except yaml.YAMLError:
        raise UserError(f"{override}: cannot be set, its value is not YAML") from None
    _set(values, key.split("."), value, override)


def _set(place: Any, keys: list[str], value: Any, override: str) -> None:
    """Put a value where the keys lead; `*` leads to every item of a list."""
    key, *further = keys
    if key == "*" and isinstance(place, list):
        for index in range(len(place)):
            _set(place, [str(index), *further], value, override)
        return
    try:
        if not further:
            place[int(key) if isinstance(place, list) else key] = value
            return
        inside = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    except (ValueError, IndexError, AttributeError, TypeError):
        raise UserError(f"{override}: no such key as {key}") from None
    _set(inside, further, value, override)
