"""The physics of QSM: arrays in, arrays out; no files, no BIDS, no workflows."""
