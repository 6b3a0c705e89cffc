"""Metadata of an image that may be shared with the dataset.

Metadata pass by a list of what is known to be harmless, not by a list of what is known to be personal: a
vendor's or a colleague's own key may hold anything. Of free texts that pass, those are left out that repeat
a name or number of the person, as far as the metadata themselves tell it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from bidsschematools.schema import load_schema

MAXIMUM_CHARACTERS = 1000


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What dcm2niix writes beside the keys of BIDS, and what this project reads.
_SCANNER_KEYS = _keys(
    """
    AcquisitionMatrixPE AcquisitionNumber AcquisitionTime AveragesDouble BandwidthPerPixelPhaseEncode
    BaseResolution Bipolar BodyPartExamined CoilString CompressedSensingFactor ConversionSoftware
    ConversionSoftwareVersion DeepLearning DeepLearningDetails DerivedVendorReportedEchoSpacing
    EchoNumber EchoTrainLength EstimatedEffectiveEchoSpacing EstimatedTotalReadoutTime
    FrequencyEncodingSteps ImageOrientationPatientDICOM ImageOrientationText ImageType ImageTypeText
    ImagingFrequency InPlanePhaseEncodingDirectionDICOM InternalPulseSequenceName Interpolation2D
    Interpolation3D MissingSlices Modality MultiEchoShots NumberOfArms NumberOfAverages
    NumberOfExcitations NumberOfKSpaceTrajectories NumberOfPointsPerArm PartialFourierEnabled
    PatientPosition PercentPhaseFOV PercentSampling PhaseEncodingAxis PhaseEncodingDirectionDisplayed
    PhaseEncodingPolarityGE PhaseEncodingSteps PhaseEncodingStepsNoPartialFourier
    PhaseEncodingStepsOutOfPlane PhaseOversampling PhaseRange PhaseResolution PhaseScaling PhilipsRWVIntercept
    PhilipsRWVSlope PhilipsRescaleIntercept PhilipsRescaleSlope PhilipsScaleSlope PixelBandwidth
    ProtocolName PulseSequenceName RawImage ReadoutMode ReadoutPolarity ReconMatrixPE
    ReconstructionMethod RefLinesPE RepetitionTimeInversion SAR SeriesDescription SeriesNumber
    ShimSetting SpacingBetweenSlices TransmitCoilName TriggerDelayTime TxRefAmp
    UsePhilipsFloatNotDisplayScaling VariableFlipAngleFlag VendorReportedEchoSpacing WaterFatShift
    """
)
# Keys of BIDS that tell where or when a person was scanned (institution, station and serial number of the
# device are identifiers by HIPAA's safe harbour), or that point into another dataset.
_WITHHELD = _keys(
    """
    AnatomicalImage AssociatedEmptyRoom B0FieldIdentifier B0FieldSource BasedOn DOI Description
    DeviceSerialNumber InstitutionAddress InstitutionName InstitutionalDepartmentName IntendedFor
    MultipartID Name RawSources ScanDate Sources SpatialReference StationName SubjectArtefactDescription
    TaskDescription TaskName URL
    """
)
# Texts that are the scanner's own words, whatever a person is called.
_CODED = _keys(
    """
    ConversionSoftware ConversionSoftwareVersion ImageType ImageTypeText MRAcquisitionType Manufacturer
    Modality PatientPosition PhaseEncodingAxis PhaseEncodingDirection ReadoutMode ReadoutPolarity Units
    """
)
_PERSONAL = re.compile(r"Patient(?!Position|Sex|Age|Size|Weight|DICOM)|Birth|Physician|Operator|Accession")
_WORD = re.compile(r"[^\W_]{3,}")


def public_metadata(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """Return of an image's metadata what may go into a dataset, in the same order.

    Examples
    --------
    >>> public_metadata({"PatientName": "Doe^Jane", "EchoTime": 0.02, "SeriesDescription": "head doe 2"})
    {'EchoTime': 0.02}
    """
    words = personal_words(sidecar)
    return {
        key: value
        for key, value in sidecar.items()
        if key in _allowed() and _harmless(value) and (key in _CODED or not mentions(value, words))
    }


def personal_words(sidecar: Mapping[str, Any]) -> frozenset[str]:
    """Return names and numbers by which metadata call a person: lower case, from three characters on."""
    texts = (str(value) for key, value in sidecar.items() if _PERSONAL.search(key))
    return frozenset(word.lower() for text in texts for word in _WORD.findall(text))


def mentions(value: object, words: frozenset[str]) -> bool:
    """Whether a text, or one of a list, holds one of the words; short ones count only as whole words."""
    if isinstance(value, list):
        return any(mentions(item, words) for item in value)
    if not isinstance(value, str):
        return False
    text = value.lower()
    whole = set(_WORD.findall(text))
    return any(word in whole or (len(word) > 3 and word in text) for word in words)


def _harmless(value: object) -> bool:
    """Whether a value is a number or short text, or a list of these."""
    if isinstance(value, list):
        return all(_harmless(item) for item in value)
    if isinstance(value, str):
        return len(value) <= MAXIMUM_CHARACTERS and value.isprintable()
    return isinstance(value, bool | int | float)


@cache
def _allowed() -> frozenset[str]:
    described = {str(key).partition("__")[0] for key in load_schema().objects.metadata}
    return frozenset(described - _WITHHELD | _SCANNER_KEYS)
