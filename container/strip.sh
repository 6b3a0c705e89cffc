#!/bin/sh
# Remove from an environment what no run needs: tests, headers, sources of compiled modules, symbols.
#
#   container/strip.sh ENVIRONMENT
set -eu
packages=$(echo "$1"/lib/python3.*/site-packages)
before=$(du -sm "$packages" | cut -f 1)

# numpy's own tests hold what numpy.testing imports
find "$packages" -type d \( -name tests -o -name test \) -not -path "*/numpy/*" -prune -exec rm -rf {} +
find "$packages" -type d \( -name __pycache__ -o -name include \) -not -path "*/numpy/*" -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.c' -o -name '*.cpp' \
    -o -name '*.h' -o -name '*.hpp' -o -name '*.a' \) -delete
# symbols that only a debugger reads; a library that strip does not understand stays as it is
find "$packages" -type f -name '*.so*' -size +200k -exec sh -c \
    'for library; do strip --strip-unneeded -o /tmp/stripped "$library" 2>/dev/null && cat /tmp/stripped > "$library"; done' \
    sh {} +
rm -f /tmp/stripped
echo "site-packages: $before MB before, $(du -sm "$packages" | cut -f 1) MB after"
