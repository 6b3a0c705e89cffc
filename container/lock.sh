#!/usr/bin/env bash
# Pin everything that goes into the image, with hashes: run it after a change of the dependencies, and commit what it writes.
#
#   container/lock.sh
#
# It needs `uv` (pip install uv) and the Python package index, nothing else; it takes seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

# What brain extraction's library needs only to draw: it is never asked to. Nor is pybids to write a text about a
# dataset, with numbers in words.
never_used=(pyrender pyopengl pyglet freetype-py imageio num2words docopt)

lock() {
    local platform=$1 output=$2
    shift 2
    uv pip compile --quiet --generate-hashes --no-annotate --custom-compile-command container/lock.sh \
        --python-version 3.11 --python-platform "$platform" --output-file "$output" \
        $(printf -- '--no-emit-package %s ' "${never_used[@]}") "$@"
}

# Without the extra `ants`: antspyx has no wheel for Linux on ARM, and both images are to hold the same.
for architecture in amd64:x86_64 arm64:aarch64; do
    platform="${architecture#*:}-manylinux_2_28"
    folder="container/${architecture%:*}"
    mkdir -p "$folder"
    lock "$platform" "$folder/requirements.txt" --extra bet --extra meshnet pyproject.toml
    lock "$platform" "$folder/build.txt" container/build.in
    # every one of them must exist as a wheel
    uv pip install --quiet --dry-run --no-deps --only-binary :all: --require-hashes --python-version 3.11 \
        --python-platform "$platform" --target "$(mktemp -d)" -r "$folder/requirements.txt"
done
