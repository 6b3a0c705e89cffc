"""FreeSurfer's numbers of brain regions, which FastSurfer, SynthSeg and fMRIPrep use as well.

The numbers are those of FreeSurfer's colour table: the subcortical labelling (aseg), and the cortical
parcellations of Desikan-Killiany (also in its DKT variant) and Destrieux (2009).
"""

from __future__ import annotations

from collections.abc import Iterable

from qsmxt_app.segment.regions import Region

# left, right, name, kind
_PAIRED = (
    (2, 41, "cerebral-white-matter", "white"),
    (3, 42, "cerebral-cortex", "cortex"),
    (4, 43, "lateral-ventricle", "fluid"),
    (5, 44, "inferior-horn", "fluid"),
    (7, 46, "cerebellar-white-matter", "white"),
    (8, 47, "cerebellar-cortex", "cortex"),
    (9, 48, "thalamus", "nucleus"),
    (10, 49, "thalamus", "nucleus"),
    (11, 50, "caudate", "nucleus"),
    (12, 51, "putamen", "nucleus"),
    (13, 52, "pallidum", "nucleus"),
    (17, 53, "hippocampus", "nucleus"),
    (18, 54, "amygdala", "nucleus"),
    (19, 55, "insula", "cortex"),
    (26, 58, "accumbens", "nucleus"),
    (27, 59, "substantia-nigra", "nucleus"),
    (28, 60, "ventral-diencephalon", "nucleus"),
    (30, 62, "vessel", "vessel"),
    (31, 63, "choroid-plexus", "fluid"),
    (78, 79, "white-matter-hypointensities", "white"),
)
_SINGLE = (
    (14, "third-ventricle", "fluid"),
    (15, "fourth-ventricle", "fluid"),
    (16, "brainstem", "nucleus"),
    (24, "csf", "fluid"),
    (72, "fifth-ventricle", "fluid"),
    (77, "white-matter-hypointensities", "white"),
    (80, "non-white-matter-hypointensities", ""),
    (85, "optic-chiasm", "white"),
    (251, "corpus-callosum-posterior", "white"),
    (252, "corpus-callosum-mid-posterior", "white"),
    (253, "corpus-callosum-central", "white"),
    (254, "corpus-callosum-mid-anterior", "white"),
    (255, "corpus-callosum-anterior", "white"),
)
_DESIKAN_KILLIANY = (
    "unknown bankssts caudalanteriorcingulate caudalmiddlefrontal corpuscallosum cuneus entorhinal fusiform "
    "inferiorparietal inferiortemporal isthmuscingulate lateraloccipital lateralorbitofrontal lingual "
    "medialorbitofrontal middletemporal parahippocampal paracentral parsopercularis parsorbitalis "
    "parstriangularis pericalcarine postcentral posteriorcingulate precentral precuneus "
    "rostralanteriorcingulate rostralmiddlefrontal superiorfrontal superiorparietal superiortemporal "
    "supramarginal frontalpole temporalpole transversetemporal insula"
)
_DESTRIEUX = (
    "unknown G_and_S_frontomargin G_and_S_occipital_inf G_and_S_paracentral G_and_S_subcentral "
    "G_and_S_transv_frontopol G_and_S_cingul-Ant G_and_S_cingul-Mid-Ant G_and_S_cingul-Mid-Post "
    "G_cingul-Post-dorsal G_cingul-Post-ventral G_cuneus G_front_inf-Opercular G_front_inf-Orbital "
    "G_front_inf-Triangul G_front_middle G_front_sup G_Ins_lg_and_S_cent_ins G_insular_short "
    "G_occipital_middle G_occipital_sup G_oc-temp_lat-fusifor G_oc-temp_med-Lingual G_oc-temp_med-Parahip "
    "G_orbital G_pariet_inf-Angular G_pariet_inf-Supramar G_parietal_sup G_postcentral G_precentral "
    "G_precuneus G_rectus G_subcallosal G_temp_sup-G_T_transv G_temp_sup-Lateral G_temp_sup-Plan_polar "
    "G_temp_sup-Plan_tempo G_temporal_inf G_temporal_middle Lat_Fis-ant-Horizont Lat_Fis-ant-Vertical "
    "Lat_Fis-post Medial_wall Pole_occipital Pole_temporal S_calcarine S_central S_cingul-Marginalis "
    "S_circular_insula_ant S_circular_insula_inf S_circular_insula_sup S_collat_transv_ant "
    "S_collat_transv_post S_front_inf S_front_middle S_front_sup S_interm_prim-Jensen "
    "S_intrapariet_and_P_trans S_oc_middle_and_Lunatus S_oc_sup_and_transversal S_occipital_ant "
    "S_oc-temp_lat S_oc-temp_med_and_Lingual S_orbital_lateral S_orbital_med-olfact S_orbital-H_Shaped "
    "S_parieto_occipital S_pericallosal S_postcentral S_precentral-inf-part S_precentral-sup-part "
    "S_suborbital S_subparietal S_temporal_inf S_temporal_sup S_temporal_transverse"
)
# where a parcellation starts on the left and on the right, its names, what comes before them, kind
_PARCELS = (
    (1000, 2000, _DESIKAN_KILLIANY, "", "cortex"),
    (3000, 4000, _DESIKAN_KILLIANY, "white-matter-below-", "white"),
    (11100, 12100, _DESTRIEUX, "", "cortex"),
    (13100, 14100, _DESTRIEUX, "white-matter-below-", "white"),
)


def freesurfer_regions(numbers: Iterable[int]) -> tuple[Region, ...]:
    """Return what the labels of an image stand for, in the order of their numbers.

    A number that is not known gets itself as its name, so that its values are not lost.

    Examples
    --------
    >>> freesurfer_regions([52, 1035])
    (Region(index=52, name='pallidum', hemisphere='R', kind='nucleus'), \
Region(index=1035, name='insula', hemisphere='L', kind='cortex'))
    """
    return tuple(
        _KNOWN.get(number, Region(number, f"label-{number}")) for number in sorted(set(numbers)) if number > 0
    )


def known_regions() -> tuple[Region, ...]:
    """Return all regions whose numbers are known."""
    return tuple(_KNOWN.values())


def _known() -> dict[int, Region]:
    found = [Region(index, name, "", kind) for index, name, kind in _SINGLE]
    for left, right, name, kind in _PAIRED:
        found += [Region(left, name, "L", kind), Region(right, name, "R", kind)]
    for left, right, names, before, kind in _PARCELS:
        for place, name in enumerate(names.split()):
            found.append(Region(left + place, before + name, "L", kind))
            found.append(Region(right + place, before + name, "R", kind))
    return {region.index: region for region in found}


_KNOWN = _known()
