#!/usr/bin/env bash
# Dipole inversion with total variation, as in the preset consensus.
set -euo pipefail
IN="${1:-/input}"; OUT="${2:-/output}"
qsm invert --method tv --field "$IN/localfield.nii.gz" --mask "$IN/mask.nii.gz" \
    --units ppm --field-strength "$QSMCI_B0" --b0-direction $QSMCI_B0_DIR \
    -o "$OUT/chimap.nii.gz"
