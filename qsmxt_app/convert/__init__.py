"""Conversion of DICOM and NIfTI files to a BIDS dataset."""
