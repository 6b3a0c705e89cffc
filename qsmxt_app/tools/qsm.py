"""The command ``qsm``: single steps on NIfTI files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from qsmxt_app import __version__
from qsmxt_app.errors import QsmxtError, UnusableData, WrongUsage
from qsmxt_app.settings.text import nearest
from qsmxt_app.tools import dicom
from qsmxt_app.tools.command import ECHOES, IMAGES, Command, Option
from qsmxt_app.tools.commands import COMMANDS
from qsmxt_app.tools.parser import Parser

DICOM = "dicom"


def build_parser() -> argparse.ArgumentParser:
    """Parser of the command line: one command a step, from its declaration."""
    parser = Parser(prog="qsm", description="Single steps of QSM on NIfTI files. See qsm COMMAND --help.")
    parser.add_argument("--version", action="version", version=f"qsmxt {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        _add_arguments(commands.add_parser(name, help=command.help, description=command.help), command)
    dicom.add_arguments(commands.add_parser(DICOM, help=dicom.HELP, description=dicom.HELP))
    return parser


def single_step_parser(name: str) -> argparse.ArgumentParser:
    """Parser of one command alone, by its name in `COMMANDS`."""
    parser = Parser(prog=f"qsm {name}", description=COMMANDS[name].help)
    _add_arguments(parser, COMMANDS[name])
    return parser


def _add_arguments(parser: argparse.ArgumentParser, command: Command) -> None:
    add = parser.add_argument
    for name in (*command.needs, *command.takes):
        text = IMAGES[name] + ("" if name in command.needs else " (optional)")
        several = "+" if name in ECHOES else None
        add(f"--{name}", type=Path, nargs=several, required=name in command.needs, metavar="FILE", help=text)
    if command.echo_times:
        text = "echo times, s (default: EchoTime of the sidecars)"
        add("--echo-times", type=float, nargs="+", metavar="S", help=text)
    if command.field_strength:
        text = "field strength, T (default: MagneticFieldStrength of the sidecar)"
        add("--field-strength", type=float, metavar="T", help=text)
    if "field" in (*command.needs, *command.outputs.values()):
        add(
            "--units",
            choices=("Hz", "ppm"),
            default="Hz",
            help="of field maps, read and written (default: Hz)",
        )
    for option in command.options:
        _add_option(parser, option)
    text = "direction of B0 in voxel axes (default: by the header)"
    add("--b0-direction", type=float, nargs=3, metavar=("X", "Y", "Z"), help=text)
    others = [f"_{name}" for name in list(command.outputs)[1:]]
    beside = f"; {', '.join(others)} are written beside it" if others else ""
    add("-o", "--output", type=Path, required=True, metavar="FILE", help=f"output image, .nii.gz{beside}")
    add("--threads", type=int, help="number of threads (default: all available)")


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    flag, text = f"--{option.name.replace('_', '-')}", option.help
    if isinstance(option.default, bool):
        action = argparse.BooleanOptionalAction
        shown = "on" if option.default else "off"
        parser.add_argument(flag, action=action, default=option.default, help=f"{text} (default: {shown})")
        return
    parser.add_argument(
        flag,
        type=type(option.default),
        choices=option.choices or None,
        default=option.default,
        metavar="|".join(option.choices) or "X",
        help=f"{text} (default: {option.default})",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; errors are one line on standard error and an exit code (64, 65, 66, 73)."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        if not given:
            build_parser().print_help()
            return 0
        if not given[0].startswith("-") and given[0] not in (*COMMANDS, DICOM):
            raise WrongUsage(f"'{given[0]}' is not a command of qsm.", nearest(given[0], (*COMMANDS, DICOM)))
        arguments = build_parser().parse_args(given)
        if arguments.command == DICOM:
            dicom.run(arguments)
            return 0

        # numba and its friends take seconds to import: not before the arguments are known to be right
        from qsmxt_app.tools.single_step import run_command

        run_command(COMMANDS[arguments.command], arguments)
    except QsmxtError as error:
        print(f"qsm: {error}", file=sys.stderr)
        return error.exit_code
    except ValueError as error:  # the physics raises it for data that it cannot use
        print(f"qsm: {error}", file=sys.stderr)
        return UnusableData.exit_code
    return 0
