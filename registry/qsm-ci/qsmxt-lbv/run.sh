#!/usr/bin/env bash
# Background field removal by a boundary value problem of the Laplace equation (Zhou 2014), as in the preset consensus.
set -euo pipefail
IN="${1:-/input}"; OUT="${2:-/output}"
qsm background --method lbv --field "$IN/totalfield.nii.gz" --mask "$IN/mask.nii.gz" \
    --units ppm --field-strength "$QSMCI_B0" --b0-direction $QSMCI_B0_DIR \
    -o "$OUT/localfield.nii.gz"
