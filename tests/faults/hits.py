"""A run that is hit at random moments, goes on, and must give the bytes of an undisturbed run.

    python tests/faults/hits.py [--hits 36] [--seed 1] [--kinds kill terminate ...]

hits runs by each kind of fault in turn, several times before they may come to their end, and prints what
happened. Some kinds need more: full disk mounts a small file system, out of memory and few processes make a
control group, quota, read-only and clock compile a few lines of C; where that is impossible they are named.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))

import environment_faults
import fault_kinds
from fault_kinds import MEGABYTE, RELIEF, Hit, Impossible, Place, Study
from mini_dataset import write_mini_dataset

HITS = fault_kinds.HITS | environment_faults.HITS
PLACES = fault_kinds.PLACES | environment_faults.PLACES


def results(out: Path) -> dict[str, bytes]:
    """Content of all images, sidecars and tables."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.glob("sub-*/**/*"))
        if path.is_file() and path.suffix in (".gz", ".json", ".tsv") and path.parent.name != "figures"
    }


def prepare(folder: Path) -> Study:
    """Make a dataset and run it undisturbed."""
    study = Study(write_mini_dataset(folder / "raw", echoes=2))
    place = Place(folder / "undisturbed", study.raw)
    started = time.monotonic()
    with place.start() as process:
        _, told = process.communicate()
    if process.returncode:
        raise RuntimeError(told)
    study.seconds = time.monotonic() - started
    study.expected = results(place.out)
    files = [path for path in place.folder.rglob("*") if path.is_file()]
    study.steps = len(place.finished_steps())
    study.megabytes = sum(path.stat().st_size for path in files) / MEGABYTE
    return study


def hit_and_resume(study: Study, place: Place, kinds: Sequence[str], rng: random.Random) -> Iterator[Hit]:
    """Hit a run several times in a row, let it finish, compare; the last hit tells what was wrong then."""
    with contextlib.ExitStack() as stack:
        for kind in PLACES.keys() & set(kinds):
            stack.enter_context(PLACES[kind](place))
        for number, kind in enumerate(kinds, start=1):
            done_before, logs_before = place.finished_steps(), place.logs()
            hit = HITS[kind](study, place, rng)
            again = set(place.executed_steps(logs_before)) & done_before - {"report", "derivatives"}
            if again and "power" not in kinds[: number - 1]:
                hit.faults.append(f"computed again: {sorted(again)}")
            hit.faults += _torn(place)
            if number == len(kinds):
                RELIEF.get(kind, lambda _: None)(place)
                hit.faults += _finish(study, place)
            yield hit


def _finish(study: Study, place: Place) -> list[str]:
    """Let the run come to its end, and compare what it made; it removes its intermediate files."""
    with place.start(more=("--clean-workdir",)) as process:
        _, told = process.communicate()
    if process.returncode:
        return [f"did not go on (exit {process.returncode}): {told.strip()[-300:]}"]
    found = results(place.out)
    names = sorted(found.keys() | study.expected.keys())
    different = [name for name in names if found.get(name) != study.expected.get(name)]
    held = [path.name for path in place.folder.rglob(".locks/*.lock")]
    remains = [path.name for path in place.work.glob("sub_*")]
    faults = {"different": different, "locks are left": held, "intermediate files are left": remains}
    return [f"{name}: {found}" for name, found in faults.items() if found]


def _torn(place: Place) -> list[str]:
    """Images that are there must be whole at any time."""
    import nibabel as nib

    faults = []
    for path in place.out.glob("sub-*/**/*.nii.gz"):
        try:
            nib.load(path).get_fdata()
        except Exception as error:
            faults.append(f"{path.name} is torn ({error})")
    return faults


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=int, default=36)
    parser.add_argument("--in-a-row", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=HITS, default=list(HITS))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    count = failed = 0
    impossible: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="qsmxt-faults-") as name:
        study = prepare(Path(name))
        print(
            f"undisturbed: {study.seconds:.1f} s, {len(study.expected)} files, {study.megabytes:.0f} MB",
            flush=True,
        )
        for turn in range(100):
            for kind in options.kinds:
                if count >= options.hits or kind in impossible:
                    continue
                place = Place(Path(name) / f"{kind}-{turn}", study.raw)
                try:
                    for hit in hit_and_resume(study, place, [kind] * options.in_a_row, rng):
                        count, failed = count + hit.landed, failed + bool(hit.faults)
                        print(f"{count:3d} {hit.text}", flush=True)
                except Impossible as reason:
                    impossible.add(kind)
                    print(f"impossible here: {reason}", flush=True)
                shutil.rmtree(place.folder, ignore_errors=True)
            if count >= options.hits or impossible >= set(options.kinds):
                break
    print(f"{count} hits, {failed} with faults; kinds impossible here: {sorted(impossible) or 'none'}")
    return int(failed > 0 or bool(impossible))


if __name__ == "__main__":
    sys.exit(_main())
