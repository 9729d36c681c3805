"""From a YAML file to a checked section."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from vqaudio.config.section import Section
from vqaudio.errors import UserError

S = TypeVar("S", bound=Section)


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
        first = error.errors()[0]
        key = ".".join(_keys(values, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "no such key"
        raise UserError(f"{source}: {key + ': ' if key else ''}{message}") from None


def _keys(values: Any, place: tuple[str | int, ...]) -> list[str]:
    """A place in YAML as its keys: pydantic also names the `kind` of a section, which is no key."""
    keys = []
    for part in place:
        if isinstance(values, dict) and part == values.get("kind") and part not in values:
            continue
        keys.append(str(part))
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
    return keys


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
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
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
        value = yaml.safe_load(text)
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
