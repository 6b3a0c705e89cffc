"""Standard error may be closed, full or read by nobody: the run goes on, and its log tells how."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmxt_app.errors import InputOutputFailed
from qsmxt_app.standard_streams import Messages
from qsmxt_app.workflows.run_folder import RunFolder, log_to, stop_logging

KINDS = {
    "closed": "exec 2>&-",
    "all closed": "exec 0<&- 1>&- 2>&-",
    "full": "exec 2>/dev/full",
    "reader gone": "exec 2> >(exec true); sleep 1",
}


@pytest.fixture(scope="module")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two images that convert."""
    folder = tmp_path_factory.mktemp("nifti")
    for part, low in (("mag", 0), ("phase", -3)):
        voxels = np.random.default_rng(1).uniform(low, 3, (6, 5, 4)).astype(np.float32)
        name = f"sub-01_part-{part}_T2starw"
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / f"{name}.nii.gz")
        about = {"EchoTime": 0.02, "MagneticFieldStrength": 3, "Units": "rad"}
        (folder / f"{name}.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_without_standard_error_goes_on_and_logs(nifti: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    command = f'{KINDS[kind]}; exec "$@"'
    arguments = [sys.executable, "-P", "-m", "qsmxt_app", str(nifti), str(out), "participant"]
    done = subprocess.run(
        ["bash", "-c", command, "bash", *arguments, "--convert-only"], check=False, timeout=300
    )
    assert done.returncode == 0
    assert len(list(out.rglob("sub-01*.nii.gz"))) == 2
    (log,) = out.glob("logs/*/qsmxt.log")
    assert "2 images in" in log.read_text()


def test_a_run_ends_where_neither_log_nor_standard_error_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "qsmxt.log").symlink_to("/dev/full")
    handler = log_to(RunFolder(tmp_path), 0)
    try:
        logging.getLogger("qsmxt").error("only the log is lost")
        with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", Messages(full))
            patch.setattr(sys, "__stderr__", full)
            sys.stderr.write("lost\n")
            with pytest.raises(InputOutputFailed, match="neither the log nor standard error"):
                logging.getLogger("qsmxt").error("lost, too")
    finally:
        stop_logging(handler)
