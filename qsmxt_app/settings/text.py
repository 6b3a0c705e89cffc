"""Settings as text: TOML in and out, values converted to their type and checked."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qsmxt_app.errors import NoInput, WrongUsage

Setting = dataclasses.Field[Any]
LARGEST_INTEGER = 2**31 - 1
"""Of what steps and libraries take for a number of things."""


def convert_settings(
    values: Mapping[str, object], settings: type, known: Mapping[str, Setting], *, origin: str
) -> dict[str, Any]:
    """Turn text or TOML values into the types that the settings declare.

    Parameters
    ----------
    values
        Setting names, with `_` or `-`, to values.
    settings
        The class that declares them.
    known
        The fields that may be set.
    origin
        Where the values come from, for the error.

    Raises
    ------
    WrongUsage
        An unknown setting, or a value that cannot be understood.
    """
    hints = typing.get_type_hints(settings)
    converted: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise WrongUsage(f"{origin}: unknown setting '{key}'.", nearest(name, known))
        converted[name] = _convert(known[name], hints[name], value)
    return converted


def plain(value: Any) -> Any:
    """Return a value as text, number or list."""
    if isinstance(value, Path):
        return str(value)
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def read_toml(path: Path) -> dict[str, Any]:
    """Read the file of `--config`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WrongUsage(
            f"{path} is not valid TOML: {error}.", "Write lines such as: two_pass = false"
        ) from error
    except OSError as error:
        raise NoInput(f"--config {path} cannot be read: {error.strerror}.", "Check the path.") from error


def check_setting(setting: Setting, value: Any) -> None:
    """Refuse a value outside the choices or the range of its setting, and a file that does not exist."""
    choices, least = setting.metadata.get("choices", ()), setting.metadata.get("least")
    most = setting.metadata.get("most", LARGEST_INTEGER)
    values = value if isinstance(value, tuple) else (value,)
    for one in values if choices else ():
        if one is not None and one not in choices:
            raise WrongUsage(f"{_flag(setting)} {one} is not a valid choice.", nearest(str(one), choices))
    for number in values:
        if isinstance(number, float) and not math.isfinite(number):
            raise WrongUsage(f"{_flag(setting)} {number} is not a finite number.")
        if least is not None and number is not None and number < least:
            raise WrongUsage(f"{_flag(setting)} {number} is too small.", f"The minimum is {least:g}.")
        if isinstance(number, int) and number > most:
            raise WrongUsage(f"{_flag(setting)} {number} is too large.", f"The maximum is {most}.")
    kind = setting.metadata.get("kind")
    for path in values if kind else ():
        if path is not None and not (path.is_file() if kind == "file" else path.is_dir()):
            raise NoInput(f"{_flag(setting)} {path} does not exist or is not a {kind}.", "Check the path.")


def check_choice_or_file(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is neither one of the choices nor a file."""
    if value not in choices and not Path(value).is_file():
        raise WrongUsage(
            f"--{name} {value} is neither a method nor a file that exists.", nearest(value, choices)
        )


def to_toml(values: Mapping[str, Any]) -> str:
    """Write plain values (text, bool, numbers, lists of these) as TOML that `--config` reads back."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in values.items())


def nearest(name: str, valid: Iterable[str]) -> str:
    """Name the valid one that is nearest to a wrong one, as a sentence for an error."""
    names = tuple(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"Choose one of: {', '.join(names)}."


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(
            f"\\u{ord(char):04x}" if ord(char) < 32 or ord(char) == 127 or char in '"\\' else char
            for char in value
        )
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return repr(value)


def _convert(setting: Setting, annotation: Any, value: object) -> Any:
    if isinstance(annotation, types.UnionType):
        annotation = next(option for option in typing.get_args(annotation) if option is not type(None))
    if typing.get_origin(annotation) is tuple:
        return _convert_list(setting, annotation, value)
    return _convert_scalar(setting, annotation, value)


def _convert_list(setting: Setting, annotation: Any, value: object) -> tuple[Any, ...]:
    items = list(value) if isinstance(value, list | tuple) else [value]
    kinds = typing.get_args(annotation)
    if kinds[-1] is not Ellipsis and len(items) != len(kinds):
        raise WrongUsage(f"{_flag(setting)} needs {len(kinds)} values, not {len(items)}.")
    return tuple(_convert_scalar(setting, kinds[0], item) for item in items)


def _convert_scalar(setting: Setting, kind: type, value: object) -> Any:
    if isinstance(value, str) and "\0" in value:
        raise WrongUsage(f"{_flag(setting)} contains a NUL character.", "Remove it.")
    try:
        if kind is bool:
            if isinstance(value, bool):
                return value
            raise ValueError
        if isinstance(value, bool):
            raise ValueError
        if kind is float and setting.name == "mem_gb":
            return _gigabytes(value)
        if kind is int and isinstance(value, float):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "text")
        raise WrongUsage(f"{_flag(setting)} needs {expected}, not '{value}'.") from None


def _gigabytes(value: object) -> float:
    text = str(value).strip().upper().removesuffix("B")
    factors = {"K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}
    return float(text[:-1]) * factors[text[-1]] if text[-1:] in factors else float(text)


def _flag(setting: Setting) -> str:
    return "--" + setting.name.replace("_", "-")
