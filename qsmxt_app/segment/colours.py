"""Colours of regions, and the tables of colours that viewers read: FreeSurfer's and ITK-SNAP's."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable
from zlib import crc32

from qsmxt_app.segment.regions import Region

Colour = tuple[int, int, int]

_SIDES = {"L": "Left-", "R": "Right-", "": ""}
_HEX = re.compile(r"#[0-9A-Fa-f]{6}")
# FreeSurfer's, by which people know these structures
_FREESURFER: dict[str, Colour] = {
    "cerebral-white-matter": (245, 245, 245),
    "cerebral-cortex": (205, 62, 78),
    "lateral-ventricle": (120, 18, 134),
    "inferior-horn": (196, 58, 250),
    "cerebellar-white-matter": (220, 248, 164),
    "cerebellar-cortex": (230, 148, 34),
    "thalamus": (0, 118, 14),
    "caudate": (122, 186, 220),
    "putamen": (236, 13, 176),
    "pallidum": (12, 48, 255),
    "third-ventricle": (204, 182, 142),
    "fourth-ventricle": (42, 204, 164),
    "brainstem": (119, 159, 176),
    "hippocampus": (220, 216, 20),
    "amygdala": (103, 255, 255),
    "csf": (60, 60, 60),
    "accumbens": (255, 165, 0),
    "ventral-diencephalon": (165, 42, 42),
}


def region_colour(region: Region) -> Colour:
    """Return red, green and blue, 0 to 255: the region's own colour, FreeSurfer's, or one made of its name.

    Both sides of a structure have the same colour.

    Examples
    --------
    >>> region_colour(Region(12, "putamen", "L"))
    (236, 13, 176)
    >>> region_colour(Region(1, "mine", color="#0A00FF"))
    (10, 0, 255)
    """
    if _HEX.fullmatch(region.color):
        red, green, blue = bytes.fromhex(region.color[1:])
        return red, green, blue
    name = region.name.lower()
    if name in _FREESURFER:
        return _FREESURFER[name]
    number = crc32(name.encode())
    hue, saturation, value = number % 360 / 360, 0.5 + number // 360 % 6 / 10, 0.6 + number // 2160 % 5 / 10
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def hex_colour(region: Region) -> str:
    """Return the colour of a region as BIDS writes it in the column `color`.

    Examples
    --------
    >>> hex_colour(Region(12, "putamen", "L"))
    '#EC0DB0'
    """
    return "#{:02X}{:02X}{:02X}".format(*region_colour(region))


def freesurfer_table(regions: Iterable[Region]) -> str:
    """Return FreeSurfer's table of colours: number, name, red, green, blue, and 0.

    Examples
    --------
    >>> print(freesurfer_table([Region(12, "putamen", "L")]), end="")
    0 Unknown 0 0 0 0
    12 Left-putamen 236 13 176 0
    """
    rows = (
        f"{one.index} {'-'.join(_full_name(one).split())} {' '.join(map(str, region_colour(one)))} 0"
        for one in regions
    )
    return "\n".join(["0 Unknown 0 0 0 0", *rows]) + "\n"


def itksnap_table(regions: Iterable[Region]) -> str:
    """Return ITK-SNAP's description of labels: number, colour, opacity, two switches, and the name.

    Examples
    --------
    >>> print(itksnap_table([Region(12, "putamen", "L")]), end="")
    # ITK-SnAP Label Description File
    # IDX R G B A VIS MSH LABEL
    0 0 0 0 0 0 0 "Clear Label"
    12 236 13 176 1 1 1 "Left-putamen"
    """
    rows = (
        f'{one.index} {" ".join(map(str, region_colour(one)))} 1 1 1 "{_full_name(one)}"' for one in regions
    )
    head = ("# ITK-SnAP Label Description File", "# IDX R G B A VIS MSH LABEL", '0 0 0 0 0 0 0 "Clear Label"')
    return "\n".join([*head, *rows]) + "\n"


def _full_name(region: Region) -> str:
    return _SIDES[region.hemisphere] + region.name.replace('"', "'")
