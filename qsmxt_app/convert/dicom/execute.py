"""From a plan to images: convert, check, bring phase to radians, combine complex parts and channels."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nibabel.filebasedimages import ImageFileError

from qsmxt_app.bids.atomic import make_folder, output_error, write_json
from qsmxt_app.convert.code_version import code_digest
from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.dicom.converter import VERSION, ConversionFailed
from qsmxt_app.convert.dicom.gaps import fill_gaps, has_gaps
from qsmxt_app.convert.dicom.planned_acquisition import PlannedAcquisition
from qsmxt_app.convert.dicom.series import Stack
from qsmxt_app.convert.dicom.volumes import Volume, convert_shared, convert_stack
from qsmxt_app.convert.dicom.write_acquisition import finish
from qsmxt_app.errors import CannotCreateOutput, InputOutputFailed, QsmxtError


@dataclass(frozen=True)
class Failure:
    """An acquisition that gave no images.

    Attributes
    ----------
    reason
        One line: which file, and what is wrong.
    """

    acquisition: PlannedAcquisition
    reason: str


def run_plan(
    plan: Sequence[PlannedAcquisition], work_dir: Path, n_procs: int
) -> tuple[list[ConvertedImage], list[Failure]]:
    """Convert all acquisitions of a plan.

    Parameters
    ----------
    plan
        What is to be made of which files.
    work_dir
        Images stay here, one folder an acquisition, named after its files: they are not made again. A folder
        appears when all its images are there.
    n_procs
        Converters that run at the same time.

    Returns
    -------
    images, failures
        In the order of the plan. An acquisition gives all of its images or none, and one that fails does not
        keep others from being converted.

    Raises
    ------
    CannotCreateOutput, InputOutputFailed
        If the work folder cannot be written, or its disk is full.
    """
    store = work_dir / "dicom"
    make_folder(store)
    with ThreadPoolExecutor(max(1, n_procs)) as converters, ThreadPoolExecutor(max(1, n_procs)) as makers:
        futures = [makers.submit(_convert, acquisition, store, converters) for acquisition in plan]
        try:
            results = [future.result() for future in futures]
        except BaseException:
            for pool in (makers, converters):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
    images = [image for result in results if not isinstance(result, Failure) for image in result]
    return images, [result for result in results if isinstance(result, Failure)]


def _convert(
    acquisition: PlannedAcquisition, store: Path, converters: Executor
) -> list[ConvertedImage] | Failure:
    try:
        folder = store / _fingerprint(acquisition)
        if not (folder / "images.json").is_file():
            _make_folder_of_images(acquisition, folder, converters)
        records = json.loads((folder / "images.json").read_text(encoding="utf-8"))["images"]
    except ConversionFailed as error:
        return Failure(acquisition, " ".join(str(error).split()))
    except (CannotCreateOutput, InputOutputFailed):
        raise
    except (QsmxtError, ImageFileError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise output_error(store, error) from error
        first = acquisition.members[0].stack.files[0] if acquisition.members else acquisition.key
        return Failure(acquisition, f"{first}: {' '.join(str(error).split())}")
    return [_image(acquisition, folder, record) for record in records]


def _image(acquisition: PlannedAcquisition, folder: Path, record: Mapping[str, Any]) -> ConvertedImage:
    return ConvertedImage(
        path=folder / record["file"],
        sidecar=record["sidecar"],
        subject=acquisition.subject,
        session=acquisition.session,
        suffix=record["suffix"],
        group=acquisition.key,
        origin=record["origin"],
        acquisition=acquisition.acquisition,
        reconstruction=acquisition.reconstruction,
        echo=record["echo"],
        part=record["part"],
        acquired=acquisition.acquired,
        run=acquisition.run,
    )


def _fingerprint(acquisition: PlannedAcquisition) -> str:
    """Digest of all that the images depend on: files by name, size and time, and what is made of them."""
    digest = hashlib.sha256(f"{code_digest()} {VERSION} {acquisition.datatype}".encode())
    for member in acquisition.members:
        digest.update(f"\n{member.component} {member.echo} {member.suffix} {member.stack}".encode())
        for path in member.stack.files:
            status = path.stat()
            digest.update(f"\n{path} {status.st_size} {status.st_mtime_ns}".encode(errors="surrogateescape"))
    return digest.hexdigest()[:24]


def _make_folder_of_images(acquisition: PlannedAcquisition, folder: Path, converters: Executor) -> None:
    """Make the images in a hidden folder, and give it its name when all are there."""
    for left_over in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left_over, ignore_errors=True)
    hidden = folder.parent / f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}"
    make_folder(hidden)
    try:
        volumes = _convert_members(acquisition, hidden / "converter", converters)
        records = finish(acquisition, volumes, hidden)
        shutil.rmtree(hidden / "converter")
        write_json(hidden / "images.json", {"images": records})
        shutil.rmtree(folder, ignore_errors=True)  # made half-way by an older version
        hidden.rename(folder)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _convert_alone(stack: Stack, folder: Path) -> list[Volume]:
    if has_gaps(stack):
        return [fill_gaps(convert_stack(stack, folder, may_have_gaps=True), folder / "filled.nii")]
    return [convert_stack(stack, folder)]


def _convert_members(acquisition: PlannedAcquisition, folder: Path, converters: Executor) -> list[Volume]:
    """One volume for each member."""
    make_folder(folder)
    tasks: list[Future[list[Volume]]] = []
    shared: dict[tuple[Path, ...], tuple[list[Stack], Future[list[Volume]]]] = {}
    for number, member in enumerate(acquisition.members):
        stack, place = member.stack, folder / str(number)
        if not stack.shared:
            tasks.append(converters.submit(_convert_alone, stack, place))
            continue
        if stack.files not in shared:
            stacks = [one for one in member.series.stacks if one.files == stack.files]
            shared[stack.files] = stacks, converters.submit(convert_shared, stacks, place)
        tasks.append(shared[stack.files][1])
    problems = [problem for problem in (task.exception() for task in tasks) if problem]
    if problems:
        raise problems[0]
    volumes = []
    for member, task in zip(acquisition.members, tasks, strict=True):
        stacks = shared[member.stack.files][0] if member.stack.shared else [member.stack]
        volumes.append(task.result()[stacks.index(member.stack)])
    return volumes
