"""Series as they are grouped, and the acquisitions that are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from qsmxt_app.convert.converted_image import ANATOMICAL, Datatype, Suffix
from qsmxt_app.convert.dicom.classify import Role
from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.series import Series, Stack


@dataclass(frozen=True)
class Entry:
    """One series as headers and the user's edits describe it.

    Attributes
    ----------
    components
        Of each stack of the series; None for a stack that takes no part.
    suffix, acquisition, run
        What the user set; None where nothing. Series with one label are grouped whatever their protocols.
    """

    series: Series
    role: Role
    components: tuple[Component | None, ...]
    subject: str
    session: str | None
    suffix: Suffix | None = None
    acquisition: str | None = None
    run: int | None = None


@dataclass(frozen=True)
class Member:
    """One 3D image of an acquisition.

    Attributes
    ----------
    component
        What its numbers are, after the user's edits.
    echo
        From 1 by rising echo time; None where there is one echo.
    """

    series: Series
    stack: Stack
    component: Component
    suffix: Suffix
    echo: int | None = None


@dataclass(frozen=True)
class PlannedAcquisition:
    """Images that were acquired together and share a name but for echo, part and suffix.

    Attributes
    ----------
    key
        Stays the same whenever the same series are converted.
    acquisition, reconstruction
        Legal labels that describe it, for names where they are needed.
    run
        Only where the user set it.
    """

    key: str
    subject: str
    session: str | None
    acquisition: str | None
    reconstruction: str | None
    run: int | None
    acquired: datetime | None
    members: tuple[Member, ...]

    @property
    def datatype(self) -> Datatype:
        """Folder of the dataset."""
        return "anat" if self.members[0].suffix in ANATOMICAL else "fmap"


@dataclass(frozen=True)
class GroupedSeries:
    """The plan, and by series why it takes no part in it, and which of its echoes lack another part."""

    plan: tuple[PlannedAcquisition, ...]
    left_out: dict[str, str]
    unpaired: dict[str, str]
