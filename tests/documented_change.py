"""A copy of the package with the file and the registry's line that a page for contributors adds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def copy_with(page: str, folder: Path) -> Path:
    """Copy the package into a folder and make the change of a page of `docs/contributing`."""
    text = (REPOSITORY / "docs" / "contributing" / page).read_text(encoding="utf-8")
    # compiled kernels are kept: they are found by the time and size of their source
    shutil.copytree(REPOSITORY / "qsmxt_app", folder / "qsmxt_app")
    ((path, code),) = re.findall(r'```python title="(.*?)"\n(.*?)```', text, re.DOTALL)
    (folder / path).write_text(code, encoding="utf-8")
    (change,) = re.findall(r"```diff\n(.*?)```", text, re.DOTALL)
    (folder / "registry.diff").write_text(change, encoding="utf-8")
    subprocess.run(["git", "apply", "registry.diff"], cwd=folder, check=True)
    return folder


def run_python(folder: Path, *arguments: str) -> str:
    """Run Python with the copy in place of the package; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
