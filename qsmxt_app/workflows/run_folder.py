"""The folder of one run: its settings, its log, and the crash files of nodes that failed."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.config import to_repeat
from qsmxt_app.errors import CannotCreateOutput, InputOutputFailed
from qsmxt_app.private_folder import PRIVATE, check_private
from qsmxt_app.settings import Settings
from qsmxt_app.settings.text import to_toml
from qsmxt_app.standard_streams import messages_lost
from qsmxt_app.terminal import PlainFormatter, printable

LOG_FORMAT = "%(asctime)s %(name)s %(levelname)s: %(message)s"


@dataclass(frozen=True)
class RunFolder:
    """Where a run notes what it does: OUTPUT_DIR/logs/<time>-<random>."""

    path: Path

    @property
    def log_file(self) -> Path:
        """The log, tracebacks included."""
        return self.path / "qsmxt.log"


def create_run_folder(output_dir: Path, settings: Settings, command: str) -> RunFolder:
    """Create the folder of a run, and write its settings so that `--config` can read them.

    Raises
    ------
    CannotCreateOutput
        The folder cannot be created.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder = RunFolder(create_folder(output_dir / "logs" / name))
    folder.path.joinpath("config.toml").write_text(
        f"# {printable(command)}\n{to_toml(to_repeat(settings))}", encoding="utf-8"
    )
    return folder


def create_folder(path: Path, mode: int = 0o777) -> Path:
    """Create a folder with its parents.

    Raises
    ------
    CannotCreateOutput
        It cannot be created, or not written to; or it was to be `PRIVATE` and is there already, and somebody
        else's.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise CannotCreateOutput(
            f"{path} cannot be created: {error.strerror}.", "Choose another folder or change its permissions."
        ) from error
    check_folder(path, mode)
    return path


def check_folder(path: Path, mode: int = 0o777) -> None:
    """Refuse a folder that is there, as `create_folder` does."""
    if not os.access(path, os.W_OK | os.X_OK):
        raise CannotCreateOutput(
            f"{path} cannot be written to.", "Choose another folder or change its permissions."
        )
    if mode == PRIVATE:
        check_private(path, "Choose another folder with --work-dir")


class _LogFile(logging.FileHandler):
    """A log that stops silently where it cannot be written: the step that fills a disk reports it.

    Where the terminal shows nothing either, nobody could tell how the run goes, and it ends.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Show no traceback on the terminal for a line of the log."""
        if messages_lost():
            raise InputOutputFailed(
                f"{self.baseFilename}: neither the log nor standard error can be written."
            )

    def close(self) -> None:
        """Close the file; lines that it still held are lost with the others."""
        with contextlib.suppress(OSError):
            super().close()


def log_to(folder: RunFolder, verbosity: int) -> logging.Handler:
    """Send all logging, nipype's included, to the log of the run; none of it goes to the terminal.

    Returns
    -------
    logging.Handler
        The handler, to be removed at the end of the run.
    """
    handler = _LogFile(folder.log_file, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(PlainFormatter(LOG_FORMAT))
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("qsmxt").setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    for talkative in (logging.getLogger("nipype"), logging.getLogger("nibabel.global")):
        for other in list(talkative.handlers):
            talkative.removeHandler(other)
    return handler


def stop_logging(handler: logging.Handler) -> None:
    """Undo `log_to`."""
    logging.getLogger().removeHandler(handler)
    logging.captureWarnings(False)
    handler.close()
