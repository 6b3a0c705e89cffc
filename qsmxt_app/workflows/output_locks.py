"""Several runs that write one output folder at once: what each holds, and what they write for all."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.lock import FOLDER, Held, named_lock
from qsmxt_app.report.citation import write_citations
from qsmxt_app.report.index import build_index
from qsmxt_app.report.study.page import build_group_report

WANTED = "pages.wanted"
PAGE_PATIENCE = 900.0
"""How long a report waits for another session's run that writes the same page, in seconds."""
LEFT_OVER_SECONDS = 3600.0
"""Age at which a hidden temporary file belongs to no write that goes on."""


@contextlib.contextmanager
def outputs_of(output_dir: Path, subject: str, sessions: Collection[str | None]) -> Iterator[None]:
    """Hold the outputs of a participant, or of those of its sessions that are processed.

    Raises
    ------
    Held
        Another run is at any of them.
    """
    names = sorted(f"sub-{subject}_ses-{session}" if session else f"sub-{subject}" for session in sessions)
    with contextlib.ExitStack() as stack:
        for name in names or [f"sub-{subject}"]:
            stack.enter_context(named_lock(output_dir, name))
        _remove_left_overs(output_dir / f"sub-{subject}")
        yield


@contextlib.contextmanager
def page_of(output_dir: Path, subject: str) -> Iterator[None]:
    """Hold the page of a participant, which shows all its sessions: the last writer includes them all."""
    with named_lock(output_dir, f"sub-{subject}_page", patience=PAGE_PATIENCE):
        yield


def write_shared_pages(output_dir: Path, *, group: bool = False) -> None:
    """Write what covers all participants: the list of them, and the methods with their references.

    Runs that end at the same time do not wait for each other. A run that finds another one writing leaves a
    request, and the one that writes checks for requests after it has released the lock.

    Parameters
    ----------
    output_dir
        The derivative dataset.
    group
        Write the page of the group again, too, where there is one.
    """
    wish = output_dir / FOLDER / WANTED
    write_text(wish, secrets.token_hex(8))
    while wish.exists():
        try:
            with named_lock(output_dir, "pages"):
                # before anything is read: a later wish is not answered by this round
                wish.unlink(missing_ok=True)
                write_citations(output_dir)
                if group and (output_dir / "group.html").is_file():
                    build_group_report(output_dir)
                build_index(output_dir)
        except Held:
            return


def _remove_left_overs(folder: Path) -> None:
    """Remove temporary files of writes that a crash cut short.

    Ages are counted from the newest lock: the disk's clock, which may not be this machine's.
    """
    now = 0.0
    for lock in (folder.parent / FOLDER).glob("*.lock"):
        with contextlib.suppress(OSError):  # another run ends
            now = max(now, lock.stat().st_mtime)
    for path in folder.glob("**/.*.tmp"):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > LEFT_OVER_SECONDS:
                path.unlink()
