"""Write the Boutiques descriptor of the command, from the parser: ``python registry/boutiques.py``."""

from __future__ import annotations

import argparse
import json
import types
import typing
from pathlib import Path
from typing import Any

from qsmxt_app import __version__
from qsmxt_app.cli import LEVELS, build_parser
from qsmxt_app.config import AUTO, preset_names
from qsmxt_app.settings import Settings, setting_fields

DESCRIPTOR = Path(__file__).with_name("boutiques.json")
POSITIONAL = {
    "bids_dir": {"type": "File"},
    "output_dir": {"type": "String"},
    "analysis_level": {"type": "String", "value-choices": list(LEVELS)},
}


def descriptor() -> dict[str, Any]:
    """Return the descriptor."""
    inputs = _inputs()
    return {
        "name": "qsmxt",
        "description": "Quantitative susceptibility maps, regional values and reports from raw BIDS data.",
        "author": "The qsmxt developers",
        "tool-version": __version__,
        "schema-version": "0.5",
        "tags": {"domain": ["neuroinformatics", "MRI", "QSM"], "bids": ["app"]},
        "command-line": f"qsmxt {' '.join(item['value-key'] for item in inputs)}",
        "container-image": {"type": "docker", "image": f"qsmxt:{__version__}"},
        "inputs": inputs,
        "output-files": [
            {
                "id": "results",
                "name": "Results",
                "description": "A BIDS derivative with maps, regional values and reports",
                "path-template": "[OUTPUT_DIR]",
                "optional": False,
            }
        ],
        "error-codes": [
            {"code": code, "description": meaning}
            for code, meaning in (
                (1, "something failed and the rest was finished"),
                (16, "the input is not valid BIDS"),
                (18, "the selection matches nothing"),
                (64, "wrong usage"),
                (65, "data that cannot be used"),
                (66, "no input"),
                (73, "output cannot be created"),
                (74, "input or output failed"),
            )
        ],
    }


def _inputs() -> list[dict[str, Any]]:
    settings = {field.name: field for field in setting_fields()}
    hints = typing.get_type_hints(Settings)
    found = []
    for action in build_parser()._actions:
        if action.help == argparse.SUPPRESS or isinstance(
            action, argparse._HelpAction | argparse._VersionAction
        ):
            continue
        entry = {
            "id": action.dest,
            "name": action.dest.replace("_", " "),
            "description": (action.help or "").replace("%%", "%"),
            "value-key": f"[{action.dest.upper()}]",
        }
        if action.option_strings:
            entry |= {"command-line-flag": _flag(action), "optional": True}
            entry |= _kind(settings.get(action.dest), hints.get(action.dest, bool))
        else:
            entry |= POSITIONAL[action.dest]
        found.append(entry)
    return found


def _flag(action: argparse.Action) -> str:
    """Return the flag that changes something: --no-x where x is the default."""
    long = [flag for flag in action.option_strings if flag.startswith("--")]
    negated = [flag for flag in long if flag.startswith("--no-")]
    return (negated if isinstance(action, argparse.BooleanOptionalAction) else long)[0]


def _kind(setting: Any, hint: Any) -> dict[str, Any]:
    members = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    several = any(typing.get_origin(member) is tuple for member in members)
    if several:
        members = set(typing.get_args(next(iter(members - {type(None)}))))
    kind: dict[str, Any] = {"list": True} if several else {}
    if bool in members:
        return {"type": "Flag"}
    if members & {int, float}:
        kind |= {"type": "Number", "integer": float not in members}
        least = setting.metadata.get("least")
        return kind if least is None else kind | {"minimum": least}
    if Path in members and setting.metadata.get("kind"):
        return kind | {"type": "File"}
    choices = (AUTO, *preset_names()) if setting.name == "preset" else setting.metadata.get("choices")
    return kind | {"type": "String"} | ({"value-choices": list(choices)} if choices else {})


if __name__ == "__main__":
    DESCRIPTOR.write_text(json.dumps(descriptor(), indent=2) + "\n", encoding="utf-8")
