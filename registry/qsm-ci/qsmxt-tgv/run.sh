#!/usr/bin/env bash
# TGV-QSM of the fitted field in one step: no unwrapping, no background field removal (Langkammer 2015), with a sparse term at the rim and weights by the noise.
set -euo pipefail
IN="${1:-/input}"; OUT="${2:-/output}"
qsm tgv --magnitude "$IN/magnitude.nii.gz" --phase "$IN/phase.nii.gz" --mask "$IN/mask.nii.gz" \
    --echo-times $QSMCI_TE --field-strength "$QSMCI_B0" --b0-direction $QSMCI_B0_DIR \
    -o "$OUT/chimap.nii.gz"
