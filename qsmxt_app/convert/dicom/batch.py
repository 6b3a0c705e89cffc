"""Reading the headers of many ordinary files at once, with little of it in the interpreter.

Ordinary is a file with preamble, in explicit or implicit little-endian, that ends where its header says. Its
wanted elements are copied, in compiled code, into three packets: what all files of a series share, what all
slices of an image share, and what is the slice's own. The first two are mostly known already and need no
decoding. All other files are left to `reading`, which is slower and says what is wrong with them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba.core import types
from numpy.typing import NDArray

from qsmxt_app.convert.dicom.elements import DONE, NEEDS_BYTES, NOT_UNDERSTOOD, long_forms, walk
from qsmxt_app.convert.dicom.fields import INDEX, WANTED
from qsmxt_app.convert.dicom.header import KIND_NAMES, SCAN_NAMES, SLICE_NAMES

BATCH = 64
"""Files read at once."""
FIRST_CHUNK, NEXT_CHUNK = 16384, 4096
"""Bytes read of a file, and where that was not enough, from where its header goes on."""
PACKET = 4096
"""Bytes of a packet; a header with longer values is no ordinary one."""
MOST_CHUNKS = 16
"""Chunks after which a file is no ordinary one."""

_PACKET_OF = np.full((3, WANTED.size), -1)
"""For each packet, the place of each field among those it holds; -1 for others."""
for _packet, _names in enumerate((SCAN_NAMES, KIND_NAMES, SLICE_NAMES)):
    for _place, _field in enumerate(sorted(INDEX[name] for name in _names)):
        _PACKET_OF[_packet, _field] = _place
# the C library's own functions: calls through the interpreter would take longer than all the rest
_open: Any = types.ExternalFunction("open", types.intc(types.intp, types.intc))
_pread: Any = types.ExternalFunction("pread", types.int64(types.intc, types.intp, types.int64, types.int64))
_lseek: Any = types.ExternalFunction("lseek", types.int64(types.intc, types.int64, types.intc))
_close: Any = types.ExternalFunction("close", types.intc(types.intc))
_FROM_THE_END = 2
_META_LENGTH = np.frombuffer(b"DICM\x02\x00\x00\x00UL\x04\x00", np.uint8)
_SYNTAX = np.frombuffer(b"\x02\x00\x10\x00UI", np.uint8)
_IMPLICIT = np.frombuffer(b"1.2.840.10008.1.2\0", np.uint8)
_EXPLICIT = np.frombuffer(b"1.2.840.10008.1.2.1\0", np.uint8)
_ENCAPSULATED = np.frombuffer(b"1.2.840.10008.1.2.4.", np.uint8)


_TABLES = (
    WANTED,
    long_forms(),
    _PACKET_OF,
    (_META_LENGTH, _SYNTAX, _IMPLICIT, _EXPLICIT, _ENCAPSULATED),
)
Packets = tuple[bytes, bytes, list[bytes]]
"""Of a file: packet of the series, packet of the image, values of the slice."""


@numba.njit(cache=True, nogil=True)
def _begins(data: NDArray[np.uint8], at: int, expected: NDArray[np.uint8]) -> bool:
    if at + expected.size > data.size:
        return False
    different = 0
    for index in range(expected.size):
        different += data[at + index] != expected[index]
    return different == 0


@numba.njit(cache=True, nogil=True)
def _start(data: NDArray[np.uint8], patterns: Any) -> tuple[Any, bool]:
    """Where the data set begins and whether it is explicit; 0 where the file is no ordinary one."""
    meta_length, syntax, implicit, explicit, encapsulated = patterns
    if not _begins(data, 128, meta_length):
        return 0, False
    end = 144 + (np.int64(data[140]) | np.int64(data[141]) << 8 | np.int64(data[142]) << 16)
    last: Any = min(end, data.size - 32)
    for at in range(144, last):
        if data[at] == 2 and _begins(data, at, syntax):
            if _begins(data, at + 8, implicit) and data[at + 6] == 18:
                return end, False
            known = _begins(data, at + 8, explicit) and data[at + 6] == 20
            return (end, True) if known or _begins(data, at + 8, encapsulated) else (0, False)
    return 0, False


@numba.njit(cache=True, nogil=True)
def _pack(
    data: NDArray[np.uint8],
    found: NDArray[np.int64],
    state: NDArray[np.int64],
    packets: NDArray[np.uint8],
    filled: NDArray[np.int64],
    packet_of: NDArray[np.int64],
) -> None:
    """Copy found values to the packets: number, length, bytes; the slice's own are only ended by a zero."""
    for field in range(found.shape[0]):
        offset, length = found[field]
        if offset < 0:
            continue
        for packet in range(2):
            at = filled[packet]
            if packet_of[packet, field] < 0:
                continue
            if at + 3 + length > packets.shape[1]:
                state[0] = NOT_UNDERSTOOD
                return
            packets[packet, at] = field
            packets[packet, at + 1] = length & 255
            packets[packet, at + 2] = length >> 8
            for byte in range(length):
                packets[packet, at + 3 + byte] = data[offset + byte]
            filled[packet] = at + 3 + length
        place, at = packet_of[2, field], filled[2]
        if place < 0:
            continue
        if place < state[6] or at + place + length + 1 > packets.shape[1]:
            state[0] = NOT_UNDERSTOOD
            return
        while state[6] < place:
            packets[2, at] = 0
            at, state[6] = at + 1, state[6] + 1
        for byte in range(length):
            if data[offset + byte] != 0:
                packets[2, at] = data[offset + byte]
                at += 1
        packets[2, at] = 0
        filled[2], state[6] = at + 1, place + 1


@numba.njit(cache=True, nogil=True)
def _walk_chunk(
    data: NDArray[np.uint8],
    state: NDArray[np.int64],
    packets: NDArray[np.uint8],
    filled: NDArray[np.int64],
    found: NDArray[np.int64],
    tables: Any,
) -> None:
    """Walk through a chunk of a file and pack what is wanted."""
    wanted, is_long_form, packet_of, patterns = tables
    if state[1] == 0 and state[2] == 0:
        start, explicit = _start(data, patterns)
        if start == 0:
            state[0] = NOT_UNDERSTOOD
            return
        state[2], state[4] = start, explicit
    found[:] = -1
    status, position, depth, pixel_length, count = walk(
        data, state[2] - state[1], state[4] == 1, state[3], wanted, is_long_form, found
    )
    state[0], state[2], state[3], state[5] = status, state[1] + position, depth, pixel_length
    if count:
        _pack(data, found, state, packets, filled, packet_of)


@numba.njit(cache=True, nogil=True)
def _read_files(
    paths: NDArray[np.uint8],
    states: NDArray[np.int64],
    packets: NDArray[np.uint8],
    filled: NDArray[np.int64],
    same: NDArray[np.bool_],
    tables: Any,
) -> None:
    """Read the headers of files, without the interpreter's lock.

    Parameters
    ----------
    paths
        Paths as the system knows them, each ended by a zero.
    states
        (n, 7), zero: status, offset of the chunk in the file, offset of what comes next, open sequences,
        explicit or not, bytes of pixel data (-2: in fragments), the slice's own fields that are packed.
    packets, filled
        (n, 3, `PACKET`), and how many of these are used.
    same
        (n, 2), False: whether the packets of series and image are those of the file before.
    """
    chunk = np.empty(FIRST_CHUNK, np.uint8)
    found = np.empty((tables[0].size, 2), np.int64)
    start = 0
    for file in range(states.shape[0]):
        state = states[file]
        descriptor = _open(paths.ctypes.data + start, 0)
        while paths[start] != 0:
            start += 1
        start += 1
        state[0] = NOT_UNDERSTOOD if descriptor < 0 else NEEDS_BYTES
        turn = 0
        while state[0] == NEEDS_BYTES and turn < MOST_CHUNKS:
            state[1] = state[2]
            size = _pread(descriptor, chunk.ctypes.data, FIRST_CHUNK if turn == 0 else NEXT_CHUNK, state[1])
            turn += 1
            if size <= 0:
                state[0] = NOT_UNDERSTOOD
                break
            _walk_chunk(chunk[:size], state, packets[file], filled[file], found, tables)
        if descriptor >= 0:
            if state[0] == DONE and state[2] + max(state[5], 0) > _lseek(descriptor, 0, _FROM_THE_END):
                state[0] = NOT_UNDERSTOOD
            _close(descriptor)
        for packet in range(2 * (file > 0)):
            size = filled[file, packet]
            equal = filled[file - 1, packet] == size
            for byte in range(size if equal else 0):
                equal &= packets[file, packet, byte] == packets[file - 1, packet, byte]
            same[file, packet] = equal


class _Buffers(threading.local):
    """Memory that a thread uses again for each batch: new memory costs as much as reading."""

    def __init__(self) -> None:
        self.packets = np.empty((BATCH, 3, PACKET), np.uint8)


_BUFFERS = _Buffers()


def read_packets(paths: Sequence[str]) -> list[Packets | None]:
    """Read the headers of up to `BATCH` files.

    Returns
    -------
    list
        For each file the packets of series and image (see `unpack`), and the values of the slice's own fields
        in the order of `SLICE_NAMES`, without those missing at the end; None where it is no ordinary file.
    """
    n = len(paths)
    states, filled = np.zeros((n, 7), np.int64), np.zeros((n, 3), np.int64)
    packets, same = _BUFFERS.packets[:n], np.zeros((n, 2), np.bool_)
    encoded = np.frombuffer(os.fsencode("\0".join(paths)) + b"\0", np.uint8)
    _read_files(encoded, states, packets, filled, same, _TABLES)
    found: list[Packets | None] = []
    scan = kind = b""
    rows = zip(states[:, 0].tolist(), filled.tolist(), same.tolist(), strict=True)
    for index, (status, lengths, (same_scan, same_kind)) in enumerate(rows):
        # the bytes of the file before are taken again, because their hash is known
        scan = scan if same_scan else packets[index, 0, : lengths[0]].tobytes()
        kind = kind if same_kind else packets[index, 1, : lengths[1]].tobytes()
        values = packets[index, 2, : lengths[2]].tobytes().split(b"\0")
        found.append((scan, kind, values) if status == DONE else None)
    return found


def unpack(packet: bytes) -> dict[int, bytes]:
    """Fields of a packet, by their place in `fields.NAMES`."""
    values: dict[int, bytes] = {}
    at, end = 0, len(packet)
    while at < end:
        stop = at + 3 + (packet[at + 1] | packet[at + 2] << 8)
        values[packet[at]] = packet[at + 3 : stop]
        at = stop
    return values
