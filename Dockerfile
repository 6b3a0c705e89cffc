# qsmxt as a container:   docker build -t qsmxt .
#
# Debian's Python, wheels of the Python package index, and nothing else. Versions are pinned in container/
# (container/lock.sh renews them), wheels by hash. Registries are those that the machine's pip and apt know.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS system
COPY container/debian.txt /tmp/debian.txt
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(cat /tmp/debian.txt) \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /tmp/debian.txt \
        /usr/share/man /usr/share/locale \
    && find /usr/share/doc -type f ! -name copyright -delete && find /usr/share/doc -empty -delete


FROM system AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates binutils python3.11-venv
COPY container/amd64 /src/container/amd64
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/qsmxt \
    && locked="/src/container/$(dpkg --print-architecture)" \
    && pip="/opt/build/bin/python -m pip --no-cache-dir --disable-pip-version-check" \
    && $pip install --require-hashes --only-binary=:all: -r "$locked/build.txt" \
    && $pip --python /opt/qsmxt/bin/python install --no-deps --no-compile --require-hashes --only-binary=:all: \
        -r "$locked/requirements.txt"
COPY . /src
RUN pip="/opt/build/bin/python -m pip --no-cache-dir --disable-pip-version-check" \
    && $pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /opt/wheel /src \
    && $pip --python /opt/qsmxt/bin/python install --no-deps --no-compile --no-index /opt/wheel/*.whl \
    && /opt/qsmxt/bin/python /src/registry/third_party.py > /opt/qsmxt/THIRD_PARTY.md \
    && /src/container/strip.sh /opt/qsmxt \
    && /opt/qsmxt/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/qsmxt/lib \
    && sed -i '1s/$/ -I/' /opt/qsmxt/bin/qsmxt /opt/qsmxt/bin/tgv_qsm /opt/qsmxt/bin/qsm \
    && /src/container/prepare.sh /opt/qsmxt


FROM system AS qsmxt
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="qsmxt" \
      org.opencontainers.image.description="Quantitative susceptibility mapping as a BIDS-App" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The qsmxt developers" \
      org.opencontainers.image.base.name="debian:bookworm-slim"
COPY --from=build /opt/qsmxt /opt/qsmxt
RUN /opt/qsmxt/bin/qsmxt --version | cut -d ' ' -f 2 > /version && test "$(cat /version)" = "${VERSION}"
ENV PATH=/opt/qsmxt/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8
WORKDIR /
USER 1000:1000
ENTRYPOINT ["qsmxt"]
