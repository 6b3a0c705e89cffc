"""The entry point: arguments and exit codes."""

from __future__ import annotations

import argparse
import errno
import logging
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any, NoReturn

from qsmxt_app import __version__
from qsmxt_app.compiled_cache import kernel_folders, remove_torn_kernels
from qsmxt_app.config import AUTO, load_settings, preset_names, read_preset
from qsmxt_app.environment import outside_current_folder
from qsmxt_app.errors import InputOutputFailed, QsmxtError, WrongUsage, limit_reached
from qsmxt_app.private_folder import check_compiled_cache
from qsmxt_app.segment.atlases import ATLASES
from qsmxt_app.settings import DEFAULT_PRESET, setting_fields
from qsmxt_app.settings.other_programs import INSTEAD, translated
from qsmxt_app.settings.text import nearest
from qsmxt_app.stopping import Terminated, stop_signals

EXIT_UNEXPECTED = 1
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_TERMINATED = 128 + signal.SIGTERM
LEVELS = ("participant", "group")

EPILOG = """\
exit codes: 0 done, 1 something failed and the rest was finished, 16 input is not valid BIDS,
18 nothing selected, 64 wrong usage, 65 data that cannot be used, 66 no input, 73 output cannot be created,
74 input or output failed"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WrongUsage(f"{message[:1].lower()}{message[1:]}.", "See qsmxt --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.getLogger("qsmxt").addHandler(logging.NullHandler())
    try:
        with stop_signals():
            return _run(arguments)
    except QsmxtError as error:
        return _say(error, error.exit_code)
    except KeyboardInterrupt:
        return _say("interrupted. Run the same command again to continue.", EXIT_INTERRUPTED)
    except Terminated:
        return _say("terminated. Run the same command again to continue.", EXIT_TERMINATED)
    except Exception as error:
        traceback_to_log()
        return _say(*_explained(error))


def _explained(error: Exception) -> tuple[object, int]:
    """What to say of an error that nothing expected, and the exit code."""
    if told := limit_reached(error):
        return told, told.exit_code
    if not isinstance(error, OSError):
        return f"unexpected {type(error).__name__}: {error}. Please report it.", EXIT_UNEXPECTED
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where += ": the disk or quota is full. Free some space and run again"
    return f"{error.strerror or error}{where}.", InputOutputFailed.exit_code


def build_parser() -> argparse.ArgumentParser:
    """Build the parser: positional arguments, and one flag a setting, from its declaration."""
    parser = _Parser(
        prog="qsmxt",
        usage="qsmxt BIDS_DIR OUTPUT_DIR {participant,group} [options]",
        description="Quantitative susceptibility maps from raw BIDS data. A typical run needs no option.",
        epilog=EPILOG,
        add_help=False,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=30, width=110
        ),
    )
    where = parser.add_argument_group("Input and output")
    where.add_argument(
        "bids_dir",
        type=Path,
        metavar="BIDS_DIR",
        help="raw BIDS dataset, or a folder of DICOM or NIfTI files; never written to",
    )
    where.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="output folder: a BIDS derivative")
    where.add_argument(
        "analysis_level",
        metavar="{participant,group}",
        help="participant: maps of each participant; group: template, averages and tables",
    )
    groups: dict[str, Any] = {}
    for setting in setting_fields():
        title = setting.metadata["group"]
        groups.setdefault(title, parser.add_argument_group(title))
        _add_flag(groups[title], setting)
    _add_general(parser.add_argument_group("General"))
    return parser


def _run(arguments: list[str]) -> int:
    if not arguments:
        build_parser().print_help()
        return 0
    options = vars(parse_arguments(arguments))
    level = options["analysis_level"]
    if level not in LEVELS:
        raise WrongUsage(f"'{level}' is not a valid analysis level.", nearest(level, LEVELS))
    if level == "group" and re.match(r"\s*\w+\s*~", options["model"] or ""):
        # at the participant level, a model is a network
        options["model_formula"], options["model"] = options["model"], None
    flags = {f.name: options[f.name] for f in setting_fields() if options[f.name] is not None}
    settings = load_settings(flags)

    check_compiled_cache()
    remove_torn_kernels(kernel_folders())
    # numba, nipype and their friends take seconds to import: not before the arguments are known to be right
    with outside_current_folder():
        from qsmxt_app.workflows.participant_level import Request, run_participants
        from qsmxt_app.workflows.study_level.group_level import run_group
        from qsmxt_app.workflows.submitted import name_missing

    request = Request(
        bids_dir=options["bids_dir"],
        output_dir=options["output_dir"],
        settings=settings,
        verbosity=options["verbose"] - options["quiet"],
        command=shlex.join(["qsmxt", *arguments]),
    )
    if level == "participant":
        return run_participants(request)
    missing = name_missing(settings.submitted, request.output_dir) if settings.submitted else 0
    return run_group(request) or missing


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse arguments; flags may be spelled with `_` or `-`.

    Raises
    ------
    WrongUsage
        An unknown option, with the nearest valid one.
    """
    parser = build_parser()
    options, unknown = parser.parse_known_args(translated([_dashed(argument) for argument in arguments]))
    flags = [flag for flag in unknown if flag.startswith("-")]
    if flags:
        name = flags[0].split("=")[0]
        if name.removeprefix("--") in INSTEAD:
            raise WrongUsage(f"{name} is not an option of qsmxt.", INSTEAD[name.removeprefix("--")])
        valid = [flag for action in parser._actions for flag in action.option_strings]
        raise WrongUsage(f"unknown option {flags[0]}.", nearest(name, valid))
    if unknown:
        raise WrongUsage(f"unexpected argument '{unknown[0]}'.", "See qsmxt --help.")
    return options


def _dashed(argument: str) -> str:
    """Spell --participant_label as --participant-label."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def _add_flag(group: Any, setting: Field[Any]) -> None:
    details = setting.metadata
    flags = [f"-{details['short']}"] if "short" in details else []
    flags.append(f"--{setting.name.replace('_', '-')}")
    text = details["help"] + _default_text(setting)
    _add(group, setting, flags, text)
    if "aliases" in details:
        _add(group, setting, [f"--{name}" for name in details["aliases"]], argparse.SUPPRESS)


def _add(group: Any, setting: Field[Any], flags: list[str], text: str) -> None:
    if isinstance(setting.default, bool):
        group.add_argument(
            *flags, dest=setting.name, action=_switch(setting.default), default=None, help=text
        )
        return
    choices = "|".join(setting.metadata.get("choices", ()))
    group.add_argument(
        *flags,
        dest=setting.name,
        default=None,
        nargs="+" if isinstance(setting.default, tuple) else None,
        action="extend" if setting.default == () else "store",
        metavar=setting.metadata.get("metavar") or choices or "FILE",
        help=text,
    )


def _switch(default: bool) -> Any:
    return argparse.BooleanOptionalAction if default else "store_true"


def _default_text(setting: Field[Any]) -> str:
    if setting.name == "preset":
        return f": {', '.join((AUTO, *preset_names()))} (default: {setting.default})"
    if setting.name == "atlas":
        return f": {', '.join(ATLASES)} (default: {setting.default})"
    # the default preset decides some of them
    default = read_preset(DEFAULT_PRESET).settings.get(setting.name, setting.default)
    if isinstance(default, bool):
        return " (default: on)" if default else ""
    if default in (None, (), ""):
        return ""
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    return f" (default: {shown})"


def _add_general(group: Any) -> None:
    group.add_argument("-v", "--verbose", action="count", default=0, help="increase verbosity (-vv: debug)")
    group.add_argument("-q", "--quiet", action="count", default=0, help="print errors only")
    group.add_argument("--version", action="version", version=f"qsmxt {__version__}")
    group.add_argument("-h", "--help", action="help", help="show this page")


def traceback_to_log() -> None:
    """Write the traceback of the error being handled to the run's log."""
    logging.getLogger("qsmxt").error("%s", traceback.format_exc())


def _say(message: object, exit_code: int) -> int:
    # names of files may hold anything, and must not reach the terminal as control sequences
    text = "".join(char if char.isprintable() or char == "\n" else "?" for char in str(message))
    print(f"qsmxt: {text}", file=sys.stderr)
    return exit_code
