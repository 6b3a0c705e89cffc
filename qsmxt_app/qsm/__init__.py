"""The physics of QSM: arrays in, arrays out; no file, no BIDS and no workflow is known here."""
