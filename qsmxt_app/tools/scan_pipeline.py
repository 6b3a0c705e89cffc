"""The steps of one scan, one after the other in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.maps import MAPS, made_maps
from qsmxt_app.maps.declaration import Scan
from qsmxt_app.qsm.brain_extraction import brain_extraction
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.echo_maps import average_echoes, for_each_echo
from qsmxt_app.qsm.magnitude import combine_magnitude
from qsmxt_app.qsm.masking import MaskOptions, Masks, build_masks
from qsmxt_app.qsm.reference import reference_chi
from qsmxt_app.qsm.scan_field import ScanField, fit_scan_field
from qsmxt_app.qsm.stripped_magnitude import stripped_brain
from qsmxt_app.qsm.tgv import TGVOptions, solve_tgv
from qsmxt_app.qsm.two_pass import combine_two_pass, strong_holes
from qsmxt_app.qsm.two_step import FittedField, invert_local_field, remove_background
from qsmxt_app.settings import REFERENCES, Settings
from qsmxt_app.tools.reconstruction import Reconstruction
from qsmxt_app.tools.scan_images import Images, ScanImages, read_mask
from qsmxt_app.workflows.length_scale import length_scale


@dataclass(frozen=True)
class _Pass:
    """Chi of one pass, ppm, of the field or of each echo, and where it was reconstructed."""

    chi: FloatArray
    mask: BoolArray
    facts: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class ScanPipeline:
    """The steps of one scan, in their order."""

    scan: ScanImages
    settings: Settings
    threads: int

    def run(self, reference: Images) -> Reconstruction:
        """Compute everything."""
        masks, settings = self._masks(), self.settings
        combination: Any = settings.echo_combination
        field = fit_scan_field(
            self.scan.magnitude,
            self.scan.phase,
            self.scan.echo_times,
            filled=masks.filled,
            reliable=masks.reliable,
            outline=masks.outline,
            **self._geometry,
            field_strength=self.scan.field_strength,
            bipolar=settings.bipolar,
            unwrapping=settings.unwrapping,
            combination=combination,
        )
        invert = self._two_step if settings.qsm_method == "two-step" else self._tgv
        first = invert(field, field.filled, None if masks.brain is None else field.tissue)
        found = first.chi if first.chi.ndim == 3 else first.chi.mean(axis=-1)
        apart = strong_holes(found, first.mask, field.reliable)
        again = settings.two_pass and apart.any()
        second = invert(field, first.mask & ~apart, field.tissue) if again else None
        if isinstance(reference, str) and reference == "mean" and masks.brain is not None:
            reference = masks.brain if (masks.brain & first.mask).any() else reference
        chi, single, spread = self._combined(field, first, second, reference)
        maps, facts = self._maps(field, masks, chi, first.mask)
        return Reconstruction(
            chi=chi,
            chi_singlepass=single,
            chi_echo_spread=spread,
            mask=first.mask,
            mask_reliable=field.reliable if second is None else second.mask,
            total_field=field.total_field,
            field_noise=field.field_noise,
            maps=maps,
            affine=self.scan.affine,
            settings=settings.as_dict(),
            facts={"field": field.facts, "inversion": first.facts, **facts}
            | ({} if second is None else {"inversion_reliable": second.facts}),
            warnings=(
                *masks.warnings,
                *field.warnings,
                *(warning for noted in facts.values() for warning in noted.get("warnings", ())),
            ),
        )

    @property
    def _geometry(self) -> dict[str, Any]:
        scan = self.scan
        scale = length_scale(scan.voxel_size, scan.phase.shape[:3], self.settings.object_size)
        return {
            "voxel_size": tuple(edge * scale for edge in scan.voxel_size),
            "b0_direction": scan.b0_direction,
        }

    def _masks(self) -> Masks:
        settings, size = self.settings, self._geometry["voxel_size"]
        combined, within = combine_magnitude(self.scan.magnitude), self.scan.mask
        if within is None:
            within = stripped_brain(combined, size)
        if within is None and settings.mask == "bet":
            within = brain_extraction(combined, voxel_size=size)
        source: Any = "combined" if settings.mask == "bet" else settings.mask
        threshold: Any = settings.mask_threshold
        return build_masks(
            self.scan.magnitude,
            self.scan.phase,
            np.asarray(self.scan.echo_times),
            voxel_size=size,
            options=MaskOptions(
                source=source,
                threshold=threshold,
                value=settings.mask_threshold_value,
                closing_mm=settings.mask_closing,
                erosion_voxels=settings.mask_erosion,
                components=settings.mask_components,
                separation_mm=settings.mask_separation,
                brain=settings.brain_mask and self._geometry["voxel_size"] == self.scan.voxel_size,
            ),
            within=within,
        )

    def _tgv(self, field: ScanField, mask: BoolArray, tissue: BoolArray | None) -> _Pass:
        settings, facts = self.settings, dict[str, Any]()

        def solve(laplacian: FloatArray, noise: FloatArray) -> FloatArray:
            result = solve_tgv(
                laplacian,
                mask,
                **self._geometry,
                noise=noise,
                tissue=tissue,
                options=TGVOptions(
                    alpha=settings.tgv_alpha,
                    max_iterations=settings.tgv_iterations,
                    tolerance=settings.tgv_tolerance,
                ),
                threads=self.threads,
            )
            facts["iterations"] = max(result.iterations, facts.get("iterations", 0))
            facts["converged"] = result.converged and facts.get("converged", True)
            return result.chi

        return _Pass(for_each_echo(solve, field.laplacian, field.noise), mask, facts)

    def _two_step(self, field: ScanField, mask: BoolArray, tissue: BoolArray | None) -> _Pass:
        del tissue
        settings = self.settings
        known = {"noise": field.field_noise, **self._geometry, "field_strength": self.scan.field_strength}
        total = FittedField(field.total_field, **known)
        removed = remove_background(settings.background, total, mask, self.threads)
        local = FittedField(removed.local_field * np.float32(hz_per_ppm(self.scan.field_strength)), **known)
        result, _ = invert_local_field(
            settings.inversion, local, removed.mask, removed.measured, self.scan.echo_times, self.threads
        )
        facts = {"iterations": result.iterations, "converged": result.converged}
        return _Pass(result.chi, removed.mask, facts)

    def _combined(
        self, field: ScanField, first: _Pass, second: _Pass | None, reference: Images
    ) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
        """Return chi, relative to its reference, that of the first pass, and the spread over echoes."""
        region: Any = reference
        if not (isinstance(reference, str) and reference in REFERENCES):
            region = read_mask(reference, first.mask.shape)
        chi, single = first.chi, None
        average: Any = self.settings.echo_average
        if second is not None:
            both = second.mask & first.mask
            chi = for_each_echo(
                lambda again, one: combine_two_pass(again, one, both, first.mask), second.chi, chi
            )
            single = first.chi
            if single.ndim == 4:
                single = average_echoes(single, field.noise, average).mean
            single = reference_chi(single, first.mask, region).chi
        spread = None
        if chi.ndim == 4:
            mean = average_echoes(
                for_each_echo(lambda one: reference_chi(one, first.mask, region).chi, chi),
                field.noise,
                average,
            )
            chi, spread = mean.mean, mean.spread
        return reference_chi(chi, first.mask, region).chi, single, spread

    def _maps(
        self, field: ScanField, masks: Masks, chi: FloatArray, mask: BoolArray
    ) -> tuple[dict[str, FloatArray], dict[str, Any]]:
        """Compute the maps of the registry that the settings ask for."""
        scan = Scan(
            echo_times=self.scan.echo_times,
            field_strength=self.scan.field_strength,
            threads=self.threads,
            settings=self.settings.as_dict(),
            **self._geometry,
        )
        images: dict[str, Any] = {
            "magnitude": self.scan.magnitude,
            "phase": self.scan.phase,
            "object_mask": masks.filled,
            "total_field": field.total_field,
            "field_noise": field.field_noise,
            "random_noise": field.random_noise,
            "laplacian": field.laplacian,
            "laplacian_noise": field.noise,
            "tissue_mask": field.tissue,
            "field_mask": field.filled,
            "chi": chi,
            "mask": mask,
        } | ({} if self.scan.r2 is None else {"r2": self.scan.r2})
        made, facts = dict[str, FloatArray](), dict[str, Any]()
        wanted = made_maps(self.settings.as_dict(), len(scan.echo_times))
        for name, step in MAPS.items():
            if name in wanted:
                known = images | made
                given = {need: known[need] for need in step.needs}
                given |= {one: known[one] for one in step.takes if one in known}
                computed = step.compute(scan, **given)
                made |= computed.maps
                facts[name] = dict(computed.facts)
        return made, facts
