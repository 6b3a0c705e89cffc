"""Importing the package changes nothing; entry points do."""

import subprocess
import sys
from pathlib import Path

CHECK = """
import os, sys
before, path, modules = dict(os.environ), list(sys.path), set(sys.modules)
import qsmxt_app
assert set(sys.modules) - modules == {"qsmxt_app"}, set(sys.modules) - modules
assert dict(os.environ) == before
assert sys.path == path
"""


def test_no_environment_variable_and_no_file_changes(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-B", "-c", CHECK]
    subprocess.run(command, env=environment, check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
