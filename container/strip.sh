#!/bin/sh
# Remove from an environment what no run needs: tests, headers, sources of compiled modules, symbols of debuggers.
#
#   container/strip.sh ENVIRONMENT
set -eu
packages=$(echo "$1"/lib/python3.*/site-packages)
before=$(du -sm "$packages" | cut -f 1)

# numpy's own tests hold what numpy.testing imports
find "$packages" -type d \( -name tests -o -name test -o -name include \) -not -path "*/numpy/*" -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.c' -o -name '*.cpp' \
    -o -name '*.h' -o -name '*.hpp' -o -name '*.a' -o -name '*.js.map' \) -delete
# only these: libraries that auditwheel has patched do not survive it
strip --strip-unneeded "$packages"/llvmlite/binding/libllvmlite.so "$packages"/ants/lib.*.so
echo "site-packages: $before MB before, $(du -sm "$packages" | cut -f 1) MB after"
