#!/bin/sh
# Remove from an environment what no run needs: tests, headers, sources of compiled modules, examples, symbols of debuggers.
#
#   container/strip.sh ENVIRONMENT
set -eu
packages=$(echo "$1"/lib/python3.*/site-packages)
before=$(du -sm "$packages" | cut -f 1)

find "$packages" -type d \( -name tests -o -name test -o -name include \) -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.c' -o -name '*.cpp' \
    -o -name '*.h' -o -name '*.hpp' -o -name '*.a' -o -name '*.js.map' \) -delete
# examples
find "$packages/statsmodels/datasets" -name '*.csv' -delete
rm -rf "$packages/matplotlib/mpl-data/sample_data"
find "$packages/pydicom/data" -type f -path '*_files/*' -not -name 'MR_small*' -delete
# only this: libraries that auditwheel has patched do not survive it
strip --strip-unneeded "$packages"/llvmlite/binding/libllvmlite.so
echo "site-packages: $before MB before, $(du -sm "$packages" | cut -f 1) MB after"
