#!/bin/sh
# Compile the kernels and list the fonts of an environment, for processors of the last ten years.
#
#   container/prepare.sh ENVIRONMENT
#
# Done by real runs on small simulated heads, so that every kernel gets the types that real data give it.
set -eu
environment=$1
python=$environment/bin/python
cache=$environment/share/qsmxt/cache
work=$(mktemp -d)
mkdir -p "$cache/numba" "$cache/matplotlib" "$cache/atlases"
export NUMBA_NUM_THREADS=2 OMP_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1

$python -I -c 'from qsmxt_app.environment import runs_portable_kernels as runs; raise SystemExit(not runs())' || {
    echo "prepare.sh: this processor cannot run the kernels of an image (AVX2 is missing)" >&2
    exit 1
}
MPLCONFIGDIR=$cache/matplotlib $python -I -c 'import matplotlib.font_manager'

qsmxt() {
    "$environment/bin/qsmxt" "$@" --n-cpus 2 --mem-gb 6 --quiet
}

$python -I -m qsmxt_app.simulate "$work/bids" --voxel-size 4 --subjects 2
qsmxt "$work/bids" "$work/gre" participant
qsmxt "$work/bids" "$work/gre" group

one() {
    output=$1
    shift
    qsmxt "$work/bids" "$work/$output" participant --participant-label 01 --segmentation none "$@"
}
for preset in epi bet body consensus; do
    one $preset --preset $preset
done
one rts --preset consensus --inversion rts --background vsharp
one nonlinear --preset consensus --inversion nonlinear --unwrapping laplacian

# a network of two layers: what is compiled does not depend on its size
mkdir "$work/network"
$python - "$work/network" <<'NETWORK'
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

folder = Path(sys.argv[1])
shapes = {0: (2, 1, 3, 3, 3), 2: (2, 2, 1, 1, 1)}
weights = {f"model.{at}.weight": np.ones(shape, np.float32) for at, shape in shapes.items()}
biases = {f"model.{at}.bias": np.arange(2, dtype=np.float32) for at in shapes}
save_file(weights | biases, folder / "model.pth")
layers = [
    {"out_channels": shape[0], "in_channels": shape[1], "kernel_size": shape[2], "dilation": 1, "padding": 1}
    for shape in shapes.values()
]
(folder / "model.json").write_text(json.dumps({"elu": True, "layers": layers}))
(folder / "colormap.json").write_text(json.dumps({"labels": ["Unknown", "Thalamus"]}))
NETWORK
qsmxt "$work/bids" "$work/meshnet" participant --participant-label 01 --preset fast --segmentation meshnet --model "$work/network"

$python -I -m qsmxt_app.simulate "$work/single" --voxel-size 4 --echo-times 0.02 --bipolar
qsmxt "$work/single" "$work/single-out" participant --segmentation none

# a DICOM file whose header is read, and which is no gradient echo with phase
mkdir "$work/dicom"
cp "$environment"/lib/python3.*/site-packages/pydicom/data/test_files/MR_small.dcm "$work/dicom"
qsmxt "$work/dicom" "$work/converted" participant --convert-only 2>/dev/null || test $? = 65

rm -rf "$work"
chmod -R a+rX,go-w "$cache"
echo "kernels: $(find "$cache/numba" -name '*.nbc' | wc -l), $(du -sm "$cache" | cut -f 1) MB"
