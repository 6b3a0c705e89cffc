"""From what a scanner or a colleague gave (DICOM, NIfTI) to a BIDS dataset."""
