"""Makes `dicom_writer` importable from the folders below."""
