#!/usr/bin/env bash
# Build the image and the SIF, and do the README's main job in both: no network, read-only root, unknown user.
#
#   tests/container/run.sh [FOLDER]        FOLDER (default: /var/tmp/qsmxt-container) keeps what was built
#
# As root on a Debian machine; no Docker daemon. It takes half an hour, some 10 GB of disk, and the package
# registries that apt and pip of this machine know. A step that the machine does not allow fails by its name.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
folder=${1:-/var/tmp/qsmxt-container}
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | head -n 1)}
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
user=54321:54321
base=localhost/debian:bookworm-slim
image=localhost/qsmxt
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=chroot
store=(--root "$folder/storage" --runroot "$folder/runroot")

step() {
    local name=$1 started=$SECONDS
    shift
    echo "=== $name"
    # a function of its own process: `set -e` holds inside, unlike in a condition
    "$BASH" "$0" --step "$folder" "$@" || {
        echo "FAILED: $name" >&2
        exit 1
    }
    echo "    ok, $((SECONDS - started)) s"
}

tools() {
    [ "$(id -u)" = 0 ] || { echo "root is needed: for debootstrap, mounts and other users' ids" >&2; return 1; }
    for tool in debootstrap buildah podman runc unshare setpriv; do
        command -v "$tool" >/dev/null || {
            echo "no $tool: apt-get install --no-install-recommends debootstrap buildah podman runc uidmap util-linux" >&2
            return 1
        }
    done
    [ "$(df --output=avail -B1G "$folder" | tail -n 1)" -ge 15 ] || { echo "less than 15 GB free in $folder" >&2; return 1; }
}

base_image() {
    buildah "${store[@]}" images "$base" >/dev/null 2>&1 && return
    debootstrap --variant=minbase bookworm "$folder/bookworm" "$mirror" >"$folder/bookworm.log"
    printf 'deb %s %s main\n' "$mirror" bookworm "$mirror" bookworm-updates "${mirror%/}-security" bookworm-security \
        >"$folder/bookworm/etc/apt/sources.list"
    # what the slim image leaves out
    rm -rf "$folder"/bookworm/var/{cache/apt,lib/apt/lists}/* "$folder"/bookworm/usr/share/{doc,man,locale}/*
    tar -C "$folder/bookworm" -c . | podman "${store[@]}" import - "$base"
    rm -rf "$folder/bookworm"
}

build() {
    local context=$folder/context
    rm -rf "$context" && mkdir "$context"
    git -C "$repository" archive HEAD | tar -x -C "$context"
    printf '[global]\ncert = /run/ca.crt\n' >"$folder/pip.conf"
    buildah "${store[@]}" bud --pull-never --layers --build-arg BASE="$base" \
        --label org.opencontainers.image.revision="$(git -C "$repository" rev-parse HEAD)" \
        -v "$bundle:/run/ca.crt:ro" -v "$folder/pip.conf:/etc/pip.conf:ro" -t "$image" "$context" >"$folder/build.log" 2>&1 || {
        tail -n 30 "$folder/build.log" >&2
        return 1
    }
    grep -E '^(kernels|site-packages): ' "$folder/build.log"
    podman "${store[@]}" image inspect --format 'image: {{.Size}} bytes' "$image"
}

archive() {
    rm -f "$folder/qsmxt.tar"
    podman "${store[@]}" save --quiet --format docker-archive -o "$folder/qsmxt.tar" "$image"
    echo "compressed: $(gzip -1 -c "$folder/qsmxt.tar" | wc -c) bytes"
}

contained() {
    # podman asks for higher limits than a root without CAP_SYS_RESOURCE may give
    podman "${store[@]}" --runtime runc --cgroup-manager cgroupfs run --rm --pull never \
        --ulimit "nofile=$(ulimit -Hn):$(ulimit -Hn)" --ulimit nproc=4096:4096 "$@"
}

# No network, no writable root, no capabilities, a user without a name, a home or a variable.
strict() {
    contained --network none --read-only --cap-drop ALL --security-opt no-new-privileges --user "$user" \
        --env HOME=/nonexistent -v "$folder/data:/data" "$@"
}

described() {
    local version
    version=$(contained --entrypoint cat "$image" /version)
    grep -qx "version = \"$version\"" "$repository/pyproject.toml"
    contained "$image" --version | grep -x "qsmxt $version" >/dev/null
    podman "${store[@]}" image inspect --format '{{json .Config.Entrypoint}} {{.Config.User}} {{json .Config.Labels}}' "$image" |
        tee "$folder/config.txt"
    grep -q '^\["qsmxt"\] 1000:1000 .*image.version":"'"$version"'"' "$folder/config.txt"
}

# The README's main job: simulate a head, make its maps and report.
main_job() {
    rm -rf "$folder/data" && mkdir "$folder/data" && chown "$user" "$folder/data"
    strict --entrypoint python "$image" -Es -m qsmxt_app.simulate /data/bids
    strict -e NUMBA_DEBUG_CACHE=1 "$image" /data/bids /data/out participant
    for result in index.html 'sub-*.html' 'sub-*/anat/*_Chimap.nii.gz' 'sub-*/anat/*_R2starmap.nii.gz' logs/CITATION.md; do
        compgen -G "$folder/data/out/$result" >/dev/null || { echo "no $result" >&2; return 1; }
    done
    if grep -h 'data saved to' "$folder"/data/out/logs/*/qsmxt.log; then
        echo "these kernels were compiled again: container/prepare.sh misses them" >&2
        return 1
    fi
    [ "$(stat -c %u:%g "$folder"/data/out/index.html)" = "$user" ]
}

# Not even /tmp, and the usual ways to be root, the image's own user, or somebody with a home.
other_ways() {
    contained --network none --read-only --read-only-tmpfs=false --user "$user" "$image" --help | grep 'exit codes' >/dev/null
    strict --read-only-tmpfs=false "$image" /data/bids /data/no-tmp participant --preset fast --segmentation none --quiet
    contained --network none -v "$folder/data:/data" "$image" /data/bids /data/root-owned participant --quiet &&
        { echo "user 1000 wrote into a folder of $user" >&2; return 1; }
    contained --network none --user 0 -v "$folder/data:/data" "$image" /data/bids /data/as-root participant \
        --preset fast --segmentation none --quiet
    voxels() { contained --user 0 -v "$folder/data:/data" --entrypoint python "$image" -c \
        "import glob, hashlib, nibabel as n; print(hashlib.sha256(n.load(glob.glob('/data/$1/sub-*/anat/*E_Chimap.nii.gz')[0]).get_fdata().tobytes()).hexdigest())"; }
    [ "$(voxels no-tmp)" = "$(voxels as-root)" ] || { echo "two users, two results" >&2; return 1; }
}

sid_root() {
    [ -x "$folder/sid/usr/bin/apptainer" ] && return
    debootstrap --variant=minbase --include=apptainer,uidmap,ca-certificates sid "$folder/sid" "$mirror" >"$folder/sid.log"
    chroot "$folder/sid" useradd --create-home builder
    echo "127.0.0.1 localhost" >"$folder/sid/etc/hosts"
}

# In a root of its own and as a user of no rights, as on a cluster.
in_sid() {
    unshare --mount --net "$BASH" -c '
        set -eu
        root=$1 data=$2
        shift 2
        mount --make-rprivate /
        mount --bind "$root" "$root" && cd "$root"
        mkdir -p old home/builder/work
        mount -t proc proc proc
        mount --rbind /dev dev
        mount --rbind /sys sys
        mount -t tmpfs tmpfs tmp && chmod 1777 tmp
        mount --bind "$data" home/builder/work
        pivot_root . old
        umount -l /old
        cd /home/builder/work
        exec setpriv --reuid builder --regid builder --init-groups env -i HOME=/home/builder USER=builder \
            PATH=/usr/local/bin:/usr/bin:/bin APPTAINER_TMPDIR=/home/builder/work "$@"
    ' in_sid "$folder/sid" "$folder/sif" "$@"
}

sif() {
    rm -rf "$folder/sif" && mkdir "$folder/sif"
    cp "$repository/Singularity.def" "$folder/sif/"
    ln "$folder/qsmxt.tar" "$folder/sif/qsmxt.tar"
    chown -R "$(chroot "$folder/sid" id -u builder)" "$folder/sif"
    in_sid apptainer --version
    in_sid apptainer build --notest qsmxt.sif Singularity.def >"$folder/sif.log" 2>&1 || { tail -n 20 "$folder/sif.log" >&2; return 1; }
    echo "SIF: $(stat -c %s "$folder/sif/qsmxt.sif") bytes"
}

sif_runs() {
    local work=/home/builder/work
    rm -rf "$folder"/sif/{bids,out}
    in_sid apptainer run-help qsmxt.sif | grep 'BIDS_DIR' >/dev/null
    in_sid apptainer test --containall --cleanenv qsmxt.sif
    in_sid apptainer exec --containall -B "$work" qsmxt.sif python -Es -m qsmxt_app.simulate "$work/bids"
    # a poisoned session: --cleanenv and the image keep it out
    in_sid env PYTHONPATH=/nowhere PYTHONSTARTUP=/nowhere apptainer run --cleanenv --containall --no-home \
        -B "$work" qsmxt.sif "$work/bids" "$work/out" participant
    compgen -G "$folder/sif/out/sub-*/anat/*_Chimap.nii.gz" >/dev/null
}

if [ "${1:-}" = --step ]; then
    folder=$2
    store=(--root "$folder/storage" --runroot "$folder/runroot")
    shift 2
    "$@"
    exit
fi

mkdir -p "$folder"
step "the tools are here" tools
step "base image, by debootstrap" base_image
step "image, by buildah" build
step "entry point, version and labels" described
step "main job: no network, read-only, unknown user, no capabilities" main_job
step "without /tmp; as root; as the image's user" other_ways
step "archive" archive
step "Debian sid with Apptainer" sid_root
step "SIF, as a user without rights" sif
step "main job in the SIF" sif_runs
echo "all steps passed"
