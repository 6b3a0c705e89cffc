#!/usr/bin/env bash
# Background field removal by LBV, then dipole inversion with total variation: the preset consensus without its masking.
set -euo pipefail
IN="${1:-/input}"; OUT="${2:-/output}"
qsm background --method lbv --field "$IN/totalfield.nii.gz" --mask "$IN/mask.nii.gz" \
    --units ppm --field-strength "$QSMCI_B0" --b0-direction $QSMCI_B0_DIR \
    -o "$OUT/localfield.nii.gz"
qsm invert --method tv --field "$OUT/localfield.nii.gz" --mask "$OUT/localfield_mask.nii.gz" \
    --units ppm --field-strength "$QSMCI_B0" --b0-direction $QSMCI_B0_DIR \
    -o "$OUT/chimap.nii.gz"
