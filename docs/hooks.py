"""Pages of the documentation that are made from the program when the site is built."""

from __future__ import annotations

import argparse
from typing import Any

from qsmxt_app.cli import build_parser
from qsmxt_app.settings import setting_fields
from qsmxt_app.settings.other_programs import INSTEAD, NOTHING_TO_DO, SAME
from qsmxt_app.tools.commands import COMMANDS
from qsmxt_app.tools.qsm import single_step_parser

INTRODUCTION = """\
# Options

This page is made from the program itself. Every option has three spellings: a flag, the same with `_` for
`-`, and a line of a TOML file given by `--config`. Flags win over the file, and both win over the preset.

```bash
qsmxt BIDS_DIR OUTPUT_DIR {participant,group} [options]
```
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the page of options."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "options.md", content=options_page()))
    return files


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Put the table of other programs' options where a page asks for it."""
    markdown = markdown.replace("<!-- options of other programs -->", other_options())
    return markdown.replace("<!-- commands -->", single_steps())


def single_steps() -> str:
    """Return the help of every command of `qsm`, as text of a page."""
    sections = []
    for name, command in COMMANDS.items():
        help_text = single_step_parser(name).format_help()
        sections.append(
            f"## qsm {name}\n\n{command.help[:1].upper()}{command.help[1:]}.\n\n```text\n{help_text}```\n"
        )
    return "\n".join(sections)


def other_options() -> str:
    """Return the table of options of other programs."""
    aliases = {old: field.name for field in setting_fields() for old in field.metadata.get("aliases", ())}
    rows = {name: f"`--{ours.replace('_', '-')}`" for name, ours in (aliases | SAME).items()}
    rows |= INSTEAD | dict.fromkeys(NOTHING_TO_DO, "Not needed: it is done, or does not apply.")
    lines = [f"| `--{name}` | {rows[name]} |" for name in sorted(rows)]
    return "\n".join(["| option | here |", "|---|---|", *lines])


def options_page() -> str:
    """Return the page that lists every option of the parser."""
    keys = {field.name: field for field in setting_fields()}
    sections = [INTRODUCTION]
    for group in build_parser()._action_groups:
        shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if shown:
            title = str(group.title)
            sections.append(f"## {title[:1].upper()}{title[1:]}\n")
            sections += [_entry(action, keys) for action in shown]
    return "\n".join(sections)


def _entry(action: argparse.Action, keys: dict[str, Any]) -> str:
    value = "" if action.nargs == 0 else _value(action)
    flags = [
        f"`{flag}{f' {value}' if value and flag.startswith('--') else ''}`" for flag in action.option_strings
    ]
    heading = ", ".join(flags) or f"`{action.metavar}`"
    lines = [_escaped((action.help or "").replace("%%", "%")) + "."]
    if action.dest in keys:
        lines.append(f"In a file: `{action.dest}`.")
        aliases = keys[action.dest].metadata.get("aliases", ())
        if aliases:
            lines.append(f"Also: {', '.join(f'`--{alias}`' for alias in aliases)}.")
    return f"{heading}\n:   {' '.join(lines)}\n"


def _value(action: argparse.Action) -> str:
    metavar = str(action.metavar or action.dest.upper())
    return f"{metavar} ..." if action.nargs in ("+", "*") else metavar


def _escaped(text: str) -> str:
    for character in "\\`*_<>[]|":
        text = text.replace(character, f"\\{character}")
    return text
