"""Single steps as commands, one file each, listed here. A file's name is the command's."""

from importlib import import_module

from qsmxt_app.tools.command import Command

_NAMES = ("mask", "quality", "unwrap", "field", "background", "invert", "tgv", "r2star", "swi", "separate")
COMMANDS: dict[str, Command] = {
    name: import_module(f"qsmxt_app.tools.commands.{name}").COMMAND for name in _NAMES
}
