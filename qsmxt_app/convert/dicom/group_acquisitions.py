"""Series grouped into acquisitions: magnitude with its phase, echo with echo, field map with its magnitudes.

No image is used twice. What a scanner split into series is grouped where geometry, protocol and the time of
acquisition agree; what has the place in an acquisition that another series fills already is a repetition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from qsmxt_app.convert.converted_image import Suffix
from qsmxt_app.convert.dicom.classify import belongs_to_map, is_neighbour, same_protocol
from qsmxt_app.convert.dicom.component import Component
from qsmxt_app.convert.dicom.planned_acquisition import Entry, GroupedSeries, Member, PlannedAcquisition
from qsmxt_app.convert.dicom.series import Stack, same_grid
from qsmxt_app.convert.dicom.vendors import vendor_of
from qsmxt_app.convert.naming import legal_label

NEAR_MINUTES = 15.0
"""Series acquired further apart belong to different acquisitions."""
NEAR_NUMBERS = 20
"""Without times, series whose numbers lie further apart belong to different acquisitions."""
SAME_MOMENT = 5.0
"""s: times closer than this do not tell which of two acquisitions a series belongs to."""


@dataclass(frozen=True)
class _Piece:
    """The stacks of one repetition of one series."""

    entry: Entry
    repetition: int
    stacks: tuple[tuple[Stack, Component], ...]

    @property
    def slots(self) -> frozenset[tuple[Component, float, str | None]]:
        return frozenset((component, _echo(stack), stack.coil) for stack, component in self.stacks)

    @property
    def has_magnitude(self) -> bool:
        return any(component in {"magnitude", "real"} for _, component in self.stacks)

    @property
    def acquired(self) -> datetime | None:
        return min((s.acquired for s, _ in self.stacks if s.acquired), default=None)

    @property
    def reconstruction(self) -> str | None:
        words = {word for stack, _ in self.stacks for word in stack.kind.image_type}
        known = vendor_of(self.entry.series.scan.manufacturer).reconstructions
        return next((word for word in known if word in words), None)


@dataclass
class _Group:
    pieces: list[_Piece] = field(default_factory=list)

    @property
    def first(self) -> _Piece:
        return self.pieces[0]

    @property
    def slots(self) -> frozenset[tuple[Component, float, str | None]]:
        return frozenset().union(*(piece.slots for piece in self.pieces))

    @property
    def magnitude(self) -> _Piece | None:
        return next((piece for piece in self.pieces if piece.has_magnitude), None)


def group_acquisitions(entries: Sequence[Entry]) -> GroupedSeries:
    """Join series to acquisitions.

    Parameters
    ----------
    entries
        Every series that may take part; roles ``localiser``, ``derived`` and ``other`` are ignored.

    Returns
    -------
    GroupedSeries
        Acquisitions in the order of subject, session and time.
    """
    left_out: dict[str, str] = {}
    unpaired: dict[str, str] = {}
    plan = [one for entry in entries if entry.role in {"T1w", "UNIT1"} for one in _structural(entry)]
    for group in _group_pieces(_pieces(e for e in entries if e.role == "gradient-echo")):
        plan += _gradient_echo(group, left_out, unpaired)
    plan += _field_maps(entries, left_out)
    used = {member.series.key for one in plan for member in one.members}
    left_out = {key: reason for key, reason in left_out.items() if key not in used}
    left_out |= {key: reason for key, reason in unpaired.items() if key not in used}
    for entry in entries:
        if entry.role == "field-map" and entry.series.key not in used | left_out.keys():
            left_out[entry.series.key] = "a second magnitude of a field map"
    plan.sort(key=lambda one: (one.subject, one.session or "", one.acquired or datetime.max, one.key))
    return GroupedSeries(tuple(plan), left_out, unpaired)


def _pieces(entries: Iterable[Entry]) -> list[_Piece]:
    """Split entries by repetition; magnitudes first, then by time and number."""
    pieces = []
    for entry in entries:
        by_repetition: dict[int, list[tuple[Stack, Component]]] = {}
        for stack, component in zip(entry.series.stacks, entry.components, strict=True):
            if component is not None:
                by_repetition.setdefault(stack.repetition, []).append((stack, component))
        pieces += [_Piece(entry, number, tuple(stacks)) for number, stacks in sorted(by_repetition.items())]
    return sorted(
        pieces,
        key=lambda p: (
            not p.has_magnitude,
            p.acquired or datetime.max,
            p.entry.series.number,
            p.entry.series.key,
        ),
    )


def _echo(stack: Stack) -> float:
    """What distinguishes echoes: the time in s; 0 where it is not known."""
    return round(stack.echo_time or 0.0, 5)


def _group_pieces(pieces: Sequence[_Piece]) -> list[_Group]:
    groups: list[_Group] = []
    for piece in pieces:
        fitting = [group for group in groups if _fits(piece, group)]
        if fitting:
            min(fitting, key=lambda group: _distance(piece, group)).pieces.append(piece)
        else:
            groups.append(_Group([piece]))
    return groups


def _fits(piece: _Piece, group: _Group) -> bool:
    one, other = piece.entry, group.first.entry
    if (one.subject, one.session) != (other.subject, other.session) or one.series is other.series:
        return False
    magnitude = group.magnitude
    if piece.has_magnitude and magnitude and piece.reconstruction != magnitude.reconstruction:
        return False
    asked = {e.run for e in (one, other) if e.run is not None}
    return (
        len(asked) <= 1
        and one.acquisition == other.acquisition
        and piece.slots.isdisjoint(group.slots)
        and same_grid(piece.stacks[0][0], group.first.stacks[0][0])
        and (one.acquisition is not None or same_protocol(one.series, other.series))
        and _is_near(piece, group.first)
    )


def _is_near(one: _Piece, two: _Piece) -> bool:
    if one.acquired and two.acquired:
        return abs((one.acquired - two.acquired).total_seconds()) <= NEAR_MINUTES * 60
    return abs(one.entry.series.number - two.entry.series.number) <= NEAR_NUMBERS


def _distance(piece: _Piece, group: _Group) -> tuple[float, bool, int]:
    """How far a piece is from a group: time, then normalised magnitudes last, then series number."""
    seconds = 0.0
    if piece.acquired and group.first.acquired:
        seconds = abs((piece.acquired - group.first.acquired).total_seconds())
    normalised = group.magnitude is not None and group.magnitude.reconstruction == "NORM"
    number = abs(piece.entry.series.number - group.first.entry.series.number)
    return seconds // SAME_MOMENT, normalised, number


_Chosen = tuple[_Piece, Stack, Component]


def _gradient_echo(
    group: _Group, left_out: dict[str, str], unpaired: dict[str, str]
) -> list[PlannedAcquisition]:
    """Plan an acquisition of one or more echoes, each with all of its parts."""
    chosen = [(piece, stack, component) for piece in group.pieces for stack, component in piece.stacks]
    if any(stack.echo_time is None for _, stack, _ in chosen):
        reason = "its header has no echo time: no susceptibility map can be made without it"
        left_out.update((piece.entry.series.key, reason) for piece, _, _ in chosen)
        return []
    chosen = _needed_parts(chosen, left_out)
    # an echo keeps its number though another is not used, so that it can be added later
    stacks = (stack for piece in group.pieces for stack in piece.entry.series.stacks)
    echoes = sorted({_echo(stack) for stack in stacks if stack.echo_time})
    chosen = _whole_echoes(chosen, unpaired)
    slots = {(component, _echo(stack), stack.coil) for _, stack, component in chosen}
    if len(slots) < len(chosen):
        times = ", ".join(
            f"{1000 * (stack.echo_time or 0):g}" for stack in {s.echo_time: s for _, s, _ in chosen}.values()
        )
        reason = (
            f"its header gives different echoes the same echo time ({times} ms): their times are not known"
        )
        left_out.update((piece.entry.series.key, reason) for piece, _, _ in chosen)
        return []
    if not chosen:
        return []
    asked = next((piece.entry.suffix for piece in group.pieces if piece.entry.suffix), None)
    suffix: Suffix = asked or ("MEGRE" if len(echoes) > 1 else "T2starw")
    members = tuple(
        Member(
            piece.entry.series,
            stack,
            component,
            suffix,
            echoes.index(_echo(stack)) + 1 if len(echoes) > 1 else None,
        )
        for piece, stack, component in chosen
    )
    return [_planned(group.pieces, members)]


def _needed_parts(chosen: list[_Chosen], left_out: dict[str, str]) -> list[_Chosen]:
    """Leave out real and imaginary images where the phase is there, or where one of the two is not."""
    present = {component for _, _, component in chosen}
    if not ({"magnitude", "phase"} <= present or ("real" in present) != ("imaginary" in present)):
        return chosen
    reason = "magnitude and phase exist" if "phase" in present else "its other part is missing"
    for piece, _, component in chosen:
        if component in {"real", "imaginary"}:
            left_out[piece.entry.series.key] = f"{component}: {reason}"
    return [item for item in chosen if item[2] not in {"real", "imaginary"}]


def _whole_echoes(chosen: list[_Chosen], unpaired: dict[str, str]) -> list[_Chosen]:
    """Leave out echoes without one of the parts that others have: no map can be made with them."""
    echoes: dict[Component, set[float]] = {}
    for _, stack, component in chosen:
        echoes.setdefault(component, set()).add(_echo(stack))
    whole = set.intersection(*echoes.values()) if echoes else set()
    if not whole:
        # phases of other echoes than the magnitudes': nothing to pair
        return [item for item in chosen if item[2] == "magnitude"] or chosen
    for piece, stack, component in chosen:
        if _echo(stack) not in whole:
            lacking = " and ".join(
                sorted(part for part, times in echoes.items() if _echo(stack) not in times)
            )
            time = f"{1000 * (stack.echo_time or 0):g} ms"
            earlier = unpaired.get(piece.entry.series.key)
            what = f"the {component} of the echo at {time}, which has no {lacking}"
            unpaired[piece.entry.series.key] = f"{earlier}; {what}" if earlier else what
    return [item for item in chosen if _echo(item[1]) in whole]


def _structural(entry: Entry) -> list[PlannedAcquisition]:
    suffix: Suffix = entry.suffix or ("UNIT1" if entry.role == "UNIT1" else "T1w")
    plan = []
    for piece in _pieces([entry]):
        echoes = sorted({stack.echo_time or 0.0 for stack, _ in piece.stacks})
        members = tuple(
            Member(
                entry.series,
                stack,
                component,
                suffix,
                echoes.index(stack.echo_time or 0.0) + 1 if len(echoes) > 1 else None,
            )
            for stack, component in piece.stacks
        )
        plan.append(_planned([piece], members))
    return plan


def _field_maps(entries: Sequence[Entry], left_out: dict[str, str]) -> list[PlannedAcquisition]:
    """Plan phase differences and maps in Hz, each with magnitudes that no other has used."""
    free = _pieces(e for e in entries if e.role == "field-map")
    maps = _pieces(e for e in entries if e.role in {"phase-difference", "b0-map"})
    plan = []
    for piece in sorted(maps, key=lambda p: (p.acquired or datetime.max, p.entry.series.number)):
        is_map = piece.entry.role == "b0-map"
        own: list[tuple[Stack, Component]] = [(s, c) for s, c in piece.stacks if c == "magnitude"]
        images = [(stack, c) for stack, c in piece.stacks if c in {"phasediff", "b0map"}]
        pieces = [piece]
        if not own:
            partner = _magnitudes_for(piece, free)
            if partner is not None:
                free.remove(partner)
                pieces.append(partner)
                own = list(partner.stacks)
        if not own or not images:
            left_out[piece.entry.series.key] = "a field map whose magnitude is missing"
            continue
        sources = {id(stack): p.entry.series for p in pieces for stack, _ in p.stacks}
        own.sort(key=lambda item: item[0].echo_time or 0.0)
        names: tuple[Suffix, ...] = ("magnitude",) if is_map else ("magnitude1", "magnitude2")
        members = [
            Member(sources[id(stack)], stack, c, "fieldmap" if is_map else "phasediff")
            for stack, c in images[:1]
        ]
        members += [
            Member(sources[id(stack)], stack, c, name) for (stack, c), name in zip(own, names, strict=False)
        ]
        plan.append(_planned(pieces, tuple(members)))
    return plan


def _magnitudes_for(piece: _Piece, free: Sequence[_Piece]) -> _Piece | None:
    fitting = [
        one
        for one in free
        if (one.entry.subject, one.entry.session) == (piece.entry.subject, piece.entry.session)
        and is_neighbour(one.entry.series, piece.entry.series)
        and belongs_to_map(one.entry.series, piece.entry.series)
    ]
    return min(fitting, key=lambda one: _distance(piece, _Group([one])), default=None)


def _planned(pieces: Sequence[_Piece], members: tuple[Member, ...]) -> PlannedAcquisition:
    entries = [piece.entry for piece in pieces]
    magnitude = next((piece for piece in pieces if piece.has_magnitude), pieces[0])
    scan = entries[0].series.scan
    protocol = (scan.protocol or scan.description).removeprefix("WIP ")
    repetition = f"-{pieces[0].repetition}" if pieces[0].repetition else ""
    return PlannedAcquisition(
        key=pieces[0].entry.series.key + repetition,
        subject=entries[0].subject,
        session=entries[0].session,
        acquisition=next((e.acquisition for e in entries if e.acquisition), None)
        or legal_label(protocol)
        or None,
        reconstruction=magnitude.reconstruction,
        run=next((e.run for e in entries if e.run is not None), None),
        acquired=min((p.acquired for p in pieces if p.acquired), default=None),
        members=members,
    )
