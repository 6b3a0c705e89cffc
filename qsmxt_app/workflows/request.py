"""What the command line asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qsmxt_app.bids.derivatives import check_output
from qsmxt_app.errors import WrongUsage
from qsmxt_app.private_folder import PRIVATE
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.run_folder import check_folder


@dataclass(frozen=True)
class Request:
    """A run as it was asked for."""

    bids_dir: Path
    output_dir: Path
    settings: Settings
    verbosity: int = 0
    command: str = "qsmxt"

    @property
    def work_dir(self) -> Path:
        """Where intermediate files go: hidden, so that no reader of the derivative takes them for results.

        A folder of an earlier version, which was not hidden, is used on.
        """
        if self.settings.work_dir:
            return self.settings.work_dir.absolute()
        earlier = self.output_dir / "work"
        return (earlier if earlier.is_dir() else self.output_dir / ".work").absolute()

    def check_folders(self, raw: Path) -> None:
        """Refuse the folders that a run would refuse to write to; nothing is written.

        Parameters
        ----------
        raw
            The raw dataset.

        Raises
        ------
        WrongUsage, CannotCreateOutput
            As a run.
        """
        self.check_work_dir()
        check_output(self.output_dir.absolute(), raw)
        if self.work_dir.exists():
            check_folder(self.work_dir, PRIVATE)

    def check_work_dir(self) -> None:
        """Keep intermediate files out of the raw dataset, which is only read.

        Raises
        ------
        WrongUsage
            The folder lies inside the raw dataset.
        """
        raw, output, work = (path.resolve() for path in (self.bids_dir, self.output_dir, self.work_dir))
        if work.is_relative_to(raw) and not work.is_relative_to(output):
            raise WrongUsage(
                f"--work-dir {self.work_dir} lies inside the raw dataset.", "Choose another folder."
            )
