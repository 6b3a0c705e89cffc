#!/usr/bin/env bash
# The fit maximises the likelihood of the complex signal of all echoes over frequency and phase offset; the offset is smoothed, and the field is unwrapped by ROMEO.
set -euo pipefail
IN="${1:-/input}"; OUT="${2:-/output}"
qsm field --magnitude "$IN/magnitude.nii.gz" --phase "$IN/phase.nii.gz" --mask "$IN/mask.nii.gz" \
    --units ppm --echo-times $QSMCI_TE --field-strength "$QSMCI_B0" --b0-direction $QSMCI_B0_DIR \
    -o "$OUT/totalfield.nii.gz"
