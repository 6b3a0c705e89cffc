"""From a folder of DICOM files to images that are ready to be named."""

from qsmxt_app.convert.dicom.conversion import DicomConversion, convert_dicom, preview_dicom

__all__ = ["DicomConversion", "convert_dicom", "preview_dicom"]
