"""Files that lie where a command is called, or in its data, never become code or settings."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from nipype import config

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))

from fake_nodes import fake_graph
from mini_dataset import write_mini_dataset

from qsmxt_app.workflows.cluster_executor import cluster_executor

ROOT = Path(__file__).parents[2]
NAMES = """
    argparse ast asyncio base64 bisect bz2 calendar concurrent contextlib copy csv ctypes
    dataclasses datetime difflib email enum errno faulthandler fractions glob grp gzip hashlib heapq
    html http importlib inspect ipaddress json locale logging lzma math mimetypes multiprocessing
    numbers operator opcode pickle pkgutil platform pprint pwd queue random re resource secrets
    selectors shlex shutil signal socket ssl string struct subprocess tempfile textwrap threading
    tomllib token traceback typing unittest urllib uuid warnings weakref xml zipfile zlib ants
    antspyx bids bidsschematools cycler dateutil deno filelock h5py isal jinja2 llvmlite markupsafe
    matplotlib networkx nibabel nilearn nipype numba numpy openpyxl packaging pandas PIL pydicom
    pyparsing pytz rich scipy simplejson six skimage threadpoolctl traits yaml sitecustomize
    usercustomize
""".split()  # noqa: SIM905
SETTINGS = {
    ".numba_config.yaml": "disable_jit: 1\n",
    "matplotlibrc": "backend: module://hostile\nfont.size: nonsense\n",
    "nipype.cfg": "no section\n",
}
OPTIONS = ("participant", "--preset", "fast", "--segmentation", "none", "--skip-bids-validation", "-q")


@dataclass(frozen=True)
class Folders:
    """A dataset, its results, intermediate files and another folder, all with hostile files in them."""

    raw: Path
    out: Path
    work: Path
    scratch: Path
    bin: Path

    @property
    def arguments(self) -> list[str]:
        return [str(self.raw), str(self.out), *OPTIONS, "-w", str(self.work)]

    @property
    def executed(self) -> list[str]:
        """Files that were imported since this was asked last."""
        marker = self.bin / "executed"
        found = marker.read_text().splitlines() if marker.exists() else []
        marker.unlink(missing_ok=True)
        return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("hostile")
    made = Folders(*(root / name for name in ("raw", "out", "work", "scratch", "bin")))
    write_mini_dataset(made.raw, ("01",), echoes=1)
    for folder in (made.out, made.scratch, made.bin):
        folder.mkdir()
    made.work.mkdir(0o700)
    for folder in (made.raw, made.out, made.work, made.scratch):
        plant(folder, made.bin / "executed")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, target in scripts.items():
        module, function = target.split(":")
        text = (
            f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nif __name__ == '__main__':\n"
        )
        (made.bin / name).write_text(f"{text}    sys.exit({function}())\n")
        (made.bin / name).chmod(0o755)
    return made


def plant(folder: Path, marker: Path, names: list[str] = NAMES) -> None:
    for name in names:
        harm = f"with open({str(marker)!r}, 'a') as stream:\n    stream.write(__file__ + '\\n')\n"
        (folder / f"{name}.py").write_text(f"{harm}raise RuntimeError('code of the current folder')\n")
    for name, text in SETTINGS.items():
        (folder / name).write_text(text)


def not_imported_by(program: str) -> list[str]:
    names = f"{program}\nimport sys\nprint(*sys.modules)"
    early = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True).stdout
    return [name for name in NAMES if name not in early.split()]


def run(command: list[object], cwd: Path, code: int = 0, **variables: str) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr


def test_there_are_many_hostile_files() -> None:
    assert len(set(NAMES)) > 50


@pytest.mark.parametrize(("where", "flags"), [("raw", []), ("out", ["-I"]), ("work", ["-E"])], ids=str)
def test_the_participant_level(folders: Folders, where: str, flags: list[str]) -> None:
    command = [sys.executable, *flags, folders.bin / "qsmxt", *folders.arguments]
    # the first computes, the others find their steps done, and write the page again
    run(command, cwd=getattr(folders, where))
    assert folders.executed == []
    assert (folders.out / "sub-01.html").exists()


@pytest.mark.parametrize("options", ["--help", "--dry-run", "--boilerplate-only", "--submit slurm --dry-run"])
def test_what_computes_nothing(folders: Folders, options: str) -> None:
    run([folders.bin / "qsmxt", *folders.arguments, *options.split()], cwd=folders.raw)
    assert folders.executed == []


def test_the_group_level_and_reports(folders: Folders) -> None:
    if not (folders.out / "sub-01.html").exists():
        test_the_participant_level(folders, "scratch", [])
    run([folders.bin / "qsmxt", *folders.arguments, "--reports-only"], cwd=folders.work)
    group = [folders.raw, folders.out, "group", "-w", folders.work, "-q"]
    run([folders.bin / "qsmxt", *group], cwd=folders.out)
    assert folders.executed == []


def test_conversion(folders: Folders, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    plant(source, folders.bin / "executed")
    for path in (folders.raw / "sub-01" / "anat").iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    run([folders.bin / "qsmxt", source, out, "participant", "--convert-only", "-q"], cwd=source)
    assert folders.executed == []


@pytest.mark.parametrize("flags", [[], ["-P"]], ids=["usual", "safe-path"])
def test_python_m(folders: Folders, flags: list[str], tmp_path: Path) -> None:
    python = [sys.executable, *flags, "-m"]
    # without -P, Python itself imports some from the current folder, before it runs any of ours
    plant(tmp_path, folders.bin / "executed", NAMES if flags else not_imported_by("import runpy"))
    run([*python, "qsmxt_app", *folders.arguments, "--dry-run"], cwd=tmp_path)
    run([*python, "qsmxt_app.simulate", "--subjects", "0", folders.out / "s"], cwd=tmp_path, code=64)
    assert folders.executed == []


def test_qsm(folders: Folders) -> None:
    run(
        [folders.bin / "qsm", "r2star", "--magnitude", "absent.nii", "-o", "x.nii"],
        cwd=folders.scratch,
        code=66,
    )


def test_tgv_qsm(folders: Folders) -> None:
    run([folders.bin / "tgv_qsm", "-p", "absent.nii", "-m", "absent.nii"], cwd=folders.scratch, code=66)
    assert folders.executed == []


def test_entries_of_pythonpath_that_mean_the_current_folder(folders: Folders, tmp_path: Path) -> None:
    """Python imports a few modules by itself before it runs any of ours: those it may take from there.

    All steps are computed: what they import late is found by the same entries.
    """
    later = [name for name in not_imported_by("pass") if not name.endswith("customize")]
    plant(tmp_path, folders.bin / "executed", later)
    # an empty entry, a relative one, one that does not exist, and an empty one at the end
    entries = ["", os.environ.get("PYTHONPATH", ""), os.curdir, f"{os.sep}absent", ""]
    command = [folders.bin / "qsmxt", *folders.arguments, "-w", tmp_path / "work", "--clean-workdir"]
    run(command, cwd=tmp_path, PYTHONPATH=os.pathsep.join(entries))
    assert folders.executed == []


def test_tasks_of_a_submission(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = folders.bin / "sbatch"
    fake.write_text("#!/bin/sh\necho 1\n")
    fake.chmod(0o755)
    path = f"{folders.bin}{os.pathsep}{os.environ['PATH']}"
    run([folders.bin / "qsmxt", *folders.arguments, "--submit", "slurm"], cwd=folders.scratch, PATH=path)
    script = next(folders.out.glob("logs/*/qsmxt.slurm"))
    plant(script.parent, folders.bin / "executed")
    run(["bash", script], cwd=script.parent, SLURM_ARRAY_TASK_ID="1")
    assert folders.executed == []


def test_steps_as_jobs(folders: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scheduler that runs each job at once, in a folder with hostile files."""
    fake = folders.bin / "sbatch"
    fake.write_text('#!/bin/sh\nfor script; do :; done\nbash "$script" >&2 && echo 7\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folders.bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "workflows"))
    config.update_config({"execution": {"crashdump_dir": str(tmp_path / "crash")}})
    machine = cluster_executor("SLURM", {}, folders.work, tmp_path / "log")
    plant(machine.folder, folders.bin / "executed")
    workflow = fake_graph("graph", folders.work)
    node = next(node for node in workflow._graph.nodes if node.name == "first")
    node.base_dir = str(folders.work)
    task = machine.start(node)
    assert machine.workers[task].outcome() == {"result": None, "traceback": None}
    assert folders.executed == []
