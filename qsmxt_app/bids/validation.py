"""Validation of a dataset by the BIDS validator.

`bids_validator_config.json`, beside this file, makes it ignore two kinds of errors: those in data that are
never read (other modalities), and those of one scan's images or sidecars, which `find_acquisitions` reports
with a line of their own so that the other scans still run.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from qsmxt_app.errors import InvalidDataset, QsmxtError
from qsmxt_app.terminal import printable

CONFIG = Path(__file__).with_name("bids_validator_config.json")
VALIDATOR_SECONDS = 3600
"""Longest time that the validator may take; thousands of files need a minute."""
SHOWN = 10
"""Kinds of errors that a message lists."""

# Never checked by the validator, and possibly huge or, for the output folder, changing meanwhile.
_NOT_LINKED = {"derivatives", "sourcedata", "code"}


@dataclass(frozen=True)
class Issue:
    """One kind of error: its code, what it means, and the files that have it."""

    code: str
    meaning: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        where = self.files[0] if self.files else "dataset"
        more = f" (and {len(self.files) - 1} more)" if len(self.files) > 1 else ""
        return printable(f"{where}{more}: {self.code}: {self.meaning}")


def validate_dataset(
    path: Path, *, subjects: Sequence[str] | None = None, config: Path | None = CONFIG
) -> None:
    """Check that a dataset is valid BIDS; warnings do not count.

    Parameters
    ----------
    path
        The dataset.
    subjects
        Labels without ``sub-`` of the participants to check; None for all.
    config
        Configuration of the validator; None for none.

    Raises
    ------
    InvalidDataset
        With one line for each of the first kinds of errors.
    QsmxtError
        If the validator cannot run.
    """
    issues = find_issues(path, subjects=subjects, config=config)
    if not issues:
        return
    lines = [f"  {issue}" for issue in issues[:SHOWN]]
    if len(issues) > SHOWN:
        lines.append(f"  and {len(issues) - SHOWN} more kinds of errors")
    count = sum(max(1, len(issue.files)) for issue in issues)
    number = "1 error" if count == 1 else f"{count} errors"
    raise InvalidDataset(
        "\n".join([f"{path}: not valid BIDS, {number}:", *lines]),
        "\nCorrect them, or use --skip-bids-validation if you know that they do no harm.",
    )


def find_issues(
    path: Path, *, subjects: Sequence[str] | None = None, config: Path | None = CONFIG
) -> list[Issue]:
    """Errors that the BIDS validator finds, those of the same kind together.

    Raises
    ------
    QsmxtError
        If the validator cannot run.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="qsmxt-") as folder, _view(path, subjects) as view:
            arguments = ["--format", "json", "--ignoreWarnings"]
            if config is not None:
                arguments += ["--config", str(config)]
            return _issues(_run_validator([str(view), *arguments], Path(folder)))
    except OSError as error:
        raise _cannot_run(str(error)) from error


def _run_validator(arguments: list[str], scratch: Path) -> dict[str, Any]:
    # Deno wants a home to write to, and looks for news of itself; containers have neither home nor network.
    # Who names a folder for what it compiles waits half as long from the second time on
    environment = os.environ | {
        "DENO_DIR": os.environ.get("DENO_DIR", str(scratch)),
        "HOME": str(scratch),
        "DENO_NO_UPDATE_CHECK": "1",
        "NO_COLOR": "1",
    }
    output = scratch / "report.json"
    command = [*_validator(scratch), *arguments, "--outfile", str(output)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            # Deno looks for its settings in the current folder and above it
            cwd=scratch,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=VALIDATOR_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise _cannot_run(f"no end within {VALIDATOR_SECONDS} s: do links lead in a circle?") from error
    try:
        report = json.loads(output.read_text())
        report["issues"]["issues"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise _cannot_run(said[-1] if said else f"exit status {done.returncode}") from error
    return dict(report)


def _validator(scratch: Path) -> list[str]:
    """Return the command of the validator, which may write its report and reach no network.

    The console script of the wheel would let it; and it may be outside PATH (pipx, a container).
    """
    try:
        deno = importlib.import_module("deno").find_deno_bin()
        program = resources.files("bids_validator_deno") / "bids-validator.js"
    except ImportError as error:
        raise OSError(str(error)) from error
    rights = ["--allow-read", "--allow-env", f"--allow-write={scratch}"]
    if scratch.is_relative_to("/dev"):  # memory, where a read-only container has nothing else
        rights = ["--allow-all"]
    return [os.fsdecode(deno), "run", "--no-prompt", "--no-remote", *rights, str(program)]


def _cannot_run(reason: str) -> QsmxtError:
    return QsmxtError(
        f"the BIDS validator could not run ({printable(reason)[:200]}).",
        "Install bids-validator-deno, or use --skip-bids-validation.",
    )


@contextmanager
def _view(path: Path, subjects: Sequence[str] | None) -> Iterator[Path]:
    """Give a folder of links to what is to be checked: the validator itself cannot select participants."""
    wanted = None if subjects is None else {f"sub-{subject}" for subject in subjects}
    with tempfile.TemporaryDirectory(prefix="qsmxt-view-") as folder:
        for entry in os.scandir(path):
            if entry.name in _NOT_LINKED:
                continue
            if wanted is None or not entry.name.startswith("sub-") or entry.name in wanted:
                Path(folder, entry.name).symlink_to(Path(entry.path).absolute())
        yield Path(folder)


def _issues(report: dict[str, Any]) -> list[Issue]:
    meanings = report["issues"].get("codeMessages", {})
    files: dict[tuple[str, str], list[str]] = {}
    for issue in report["issues"]["issues"]:
        if issue.get("severity", "error") != "error":
            continue
        code = ": ".join(filter(None, [issue["code"], issue.get("subCode")]))
        meaning = meanings.get(issue["code"]) or issue.get("issueMessage") or "see the BIDS specification"
        listed = files.setdefault((code, meaning), [])
        location = str(issue.get("location") or next(iter(issue.get("affects") or []), "")).removeprefix("/")
        if location and location not in listed:
            listed.append(location)
    return [Issue(code, _sentence(meaning), tuple(sorted(paths))) for (code, meaning), paths in files.items()]


def _sentence(text: str) -> str:
    """First sentence, on one line."""
    return " ".join(text.split()).split(". ")[0][:160]
