#!/usr/bin/env bash
# Build the image and the SIF, and do the README's main job in both: no network, read-only root, unknown user.
#
#   tests/container/run.sh [FOLDER]        FOLDER (default: /var/tmp/qsmxt-container) keeps what was built
#
# As root on a Debian machine; no Docker daemon. It takes an hour on two cores, some 12 GB of disk, and the package
# registries that apt and pip of this machine know. A step that the machine does not allow fails by its name.
#
# MESHNET_WEIGHTS    folder with the weights of the network (default: beside the repository, shared/data/meshnet)
# DEBIAN_MIRROR, SSL_CERT_FILE, STORAGE_DRIVER    where the defaults do not do
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
folder=${1:-/var/tmp/qsmxt-container}
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | head -n 1)}
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
user=54321:54321
base=localhost/debian:bookworm-slim
image=localhost/qsmxt
weights=${MESHNET_WEIGHTS:-$repository/../shared/data/meshnet/weights/subcortical-30ch}
export BUILDAH_ISOLATION=chroot
store=()
kernels=/opt/qsmxt/share/qsmxt/cache/numba

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
    for tool in debootstrap buildah podman runc unshare setpriv jq; do
        command -v "$tool" >/dev/null || {
            echo "no $tool: apt-get install --no-install-recommends debootstrap buildah podman runc uidmap util-linux jq" >&2
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
    size "$image"
}

size() { podman "${store[@]}" image inspect --format "$1: {{.Size}} bytes" "$1"; }

timed() {
    local name=$1 started=$SECONDS
    shift
    "$@"
    echo "$name: $((SECONDS - started)) s"
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

# The README's main job.
main_job() {
    rm -rf "$folder/data" && mkdir "$folder/data" && chown "$user" "$folder/data"
    strict --entrypoint python "$image" -Es -m qsmxt_app.simulate /data/bids
    timed participant strict "$image" /data/bids /data/out participant
    for result in index.html sub-01.html logs/CITATION.md sub-01/anat/sub-01_{Chimap,R2starmap,seg-qsmxt_dseg}.nii.gz; do
        [ -s "$folder/data/out/$result" ] || { echo "no $result" >&2; return 1; }
    done
    [ "$(stat -c %u:%g "$folder"/data/out/index.html)" = "$user" ]
}

# Let an image do what follows with its kernels in a folder that can be written to: nothing may be added or changed.
kernels_kept() {
    local image=$1 before after
    shift
    rm -rf "$folder/kernels" && mkdir "$folder/kernels"
    contained --user 0 --entrypoint cp -v "$folder/kernels:/kernels" "$image" -a "$kernels/." /kernels
    sums() { (cd "$folder/kernels" && find . -type f | sort | xargs sha256sum); }
    before=$(sums)
    chown -R "$user" "$folder/kernels"
    "$@" -v "$folder/kernels:$kernels" "$image"
    after=$(sums)
    echo "files of kernels: $(wc -l <<<"$before") before, $(wc -l <<<"$after") after"
    diff <(echo "$before") <(echo "$after") || { echo "compiled again: container/prepare.sh misses these" >&2; return 1; }
}

# Both levels, and every preset, of other heads than container/prepare.sh has used.
nothing_compiled() {
    rm -rf "$folder"/data/small*
    strict --entrypoint python "$image" -Es -m qsmxt_app.simulate /data/small --subjects 2 --voxel-size 3 --seed 5
    kernels_kept "$image" all_presets
    for result in group.html group_stats.csv tpl-study/anat/tpl-study_Chimap.nii.gz; do
        [ -s "$folder/data/small-out/$result" ] || { echo "no $result" >&2; return 1; }
    done
}

all_presets() {
    local arguments
    while read -r arguments; do
        # shellcheck disable=SC2086
        timed "$arguments" strict "$@" /data/small /data/$arguments --quiet </dev/null
    done <<'RUNS'
small-out participant
small-out group --template-rounds 2
small-bet participant --participant-label 01 --segmentation none --preset bet
small-consensus participant --participant-label 01 --segmentation none --preset consensus
small-epi participant --participant-label 01 --segmentation none --preset epi
small-body participant --participant-label 01 --segmentation none --preset body
RUNS
}

# What a network's image adds, and its weights must be the known ones.
network() {
    [ -f "$weights/model.pth" ] || { echo "no weights in $weights: set MESHNET_WEIGHTS" >&2; return 1; }
    local context=$folder/weights
    dl() { buildah "${store[@]}" bud --pull-never --build-arg IMAGE="$image" --build-arg WEIGHTS=. -t "$image:dl" \
        -f "$repository/container/Dockerfile.dl" "$context" >"$folder/dl.log" 2>&1; }
    rm -rf "$context" && mkdir "$context" && cp "$weights"/model.* "$context" && chmod -R u+w "$context"
    dl || { tail -n 20 "$folder/dl.log" >&2; return 1; }
    size "$image:dl"
    rm -rf "$folder/data/meshnet"
    kernels_kept "$image:dl" labelled_by_network
    [ "$(wc -l <"$(ls "$folder"/data/meshnet/sub-01/anat/*_space-T1w_seg-*_dseg.tsv)")" -ge 18 ]
    printf x >>"$context/model.pth"
    ! dl || { echo "other weights were accepted" >&2; return 1; }
}

labelled_by_network() {
    timed "participant with the network" strict "$@" /data/small /data/meshnet participant --participant-label 01 \
        --preset fast --segmentation meshnet --model /opt/qsmxt/share/qsmxt/meshnet --quiet
}

# Not even /tmp, and the usual ways to be root, the image's own user, or somebody with a home.
other_ways() {
    contained --network none --read-only --read-only-tmpfs=false --user "$user" "$image" --help | grep 'exit codes' >/dev/null
    strict --read-only-tmpfs=false "$image" /data/small /data/no-tmp participant --preset fast --segmentation none --quiet
    contained --network none -v "$folder/data:/data" "$image" /data/small /data/root-owned participant --quiet &&
        { echo "user 1000 wrote into a folder of $user" >&2; return 1; }
    contained --network none --user 0 -v "$folder/data:/data" "$image" /data/small /data/as-root participant \
        --preset fast --segmentation none --quiet
    voxels() { contained --user 0 -v "$folder/data:/data" --entrypoint python "$image" -c \
        "import hashlib, nibabel as n; print(hashlib.sha256(n.load('/data/$1/sub-01/anat/sub-01_Chimap.nii.gz').get_fdata().tobytes()).hexdigest())"; }
    [ "$(voxels no-tmp)" = "$(voxels as-root)" ] || { echo "two users, two results" >&2; return 1; }
}

sid_root() {
    [ -x "$folder/sid/usr/bin/squashfuse" ] && return
    rm -rf "$folder/sid"
    debootstrap --variant=minbase --include=apptainer,squashfuse,fuse3,uidmap,ca-certificates,jq sid "$folder/sid" "$mirror" >"$folder/sid.log"
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
    in_sid apptainer run-help qsmxt.sif | grep 'BIDS_DIR' >/dev/null
    timed "%test" in_sid apptainer test --containall --cleanenv qsmxt.sif
    # a poisoned session: --cleanenv and the image keep it out
    inside() { in_sid env PYTHONPATH=/nowhere PYTHONSTARTUP=/nowhere apptainer "$1" --cleanenv --containall --no-home \
        -B "$work" qsmxt.sif "${@:2}"; }
    inside exec python -Es -m qsmxt_app.simulate "$work/bids"
    timed "participant in the SIF" inside run "$work/bids" "$work/out" participant
    cmp "$folder/sif/out/sub-01/anat/sub-01_Chimap.nii.gz" "$folder/data/out/sub-01/anat/sub-01_Chimap.nii.gz"

    cp -R "$folder/data/small" "$folder/data/small-out" "$folder/sif/"
    rm -rf "$folder"/sif/small-out/{work,group*,tpl-*}
    chown -R --reference "$folder/sif" "$folder"/sif/small*
    timed "group in the SIF" inside run "$work/small" "$work/small-out" group --template-rounds 2
    cmp "$folder"/{sif,data}/small-out/tpl-study/anat/tpl-study_Chimap.nii.gz
}

# A submission from inside the SIF: its jobs, which call the SIF again, are run as SLURM would start them.
cluster_jobs() {
    local work=/home/builder/work told scripts
    rm -rf "$folder/sif/jobs"
    told=$(in_sid apptainer run --cleanenv --containall --no-home -B "$work" qsmxt.sif "$work/small" "$work/jobs" participant \
        --submit slurm --preset fast --segmentation none)
    scripts=$(grep -o "$work/jobs/logs/submission-[^ ]*/submit.sh" <<<"$told") || { echo "$told" >&2; return 1; }
    scripts=${scripts%/*}
    job() { in_sid env SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=2 SLURM_MEM_PER_NODE=4096 "$@"; }
    # of two participants one is never started: the group level names it, and goes on
    timed "task of an array" job SLURM_ARRAY_TASK_ID=1 bash "$scripts/qsmxt.slurm"
    timed "job of the group level" job bash "$scripts/group.slurm" || [ $? = 1 ]
    scripts=$folder/sif/${scripts#"$work/"}
    [ "$(cat "$scripts"/ended/{sub-01,group})" = $'0\n1' ]
    grep sub-02 "$scripts/missing.txt"
    cmp "$folder"/{sif/jobs,data/no-tmp}/sub-01/anat/sub-01_Chimap.nii.gz
}

# The app of brainlife.io, as its resources start it: `main` in a folder of its own beside config.json.
brainlife() {
    rm -rf "$folder/sif/app" && mkdir "$folder/sif/app"
    cp "$repository/registry/brainlife/main" "$folder/sif/app/"
    jq '.bids = "../small" | .preset = "fast" | .segmentation = "none"' "$repository/registry/brainlife/config.json" \
        >"$folder/sif/app/config.json"
    chown -R --reference "$folder/sif" "$folder/sif/app"
    in_sid env QSMXT_IMAGE=/home/builder/work/qsmxt.sif sh -c 'cd app && ./main'
    [ -s "$folder/sif/app/product.json" ] && [ ! -e "$folder/sif/app/output/sub-02" ]
    cmp "$folder"/{sif/app/output,data/no-tmp}/sub-01/anat/sub-01_Chimap.nii.gz
}

if [ "${1:-}" = --step ]; then
    folder=$2
    # containers in containers often allow no overlay, but always plain folders
    store=(--storage-driver "${STORAGE_DRIVER:-overlay}" --root "$folder/storage" --runroot "$folder/runroot")
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
step "both levels, and nothing is compiled at run time" nothing_compiled
step "without /tmp; as root; as the image's user" other_ways
step "image with the weights of the network" network
step "archive" archive
step "Debian sid with Apptainer" sid_root
step "SIF, as a user without rights" sif
step "test, main job and group level in the SIF" sif_runs
step "app of brainlife.io, with the SIF" brainlife
step "jobs of a cluster, with the SIF" cluster_jobs
echo "all steps passed, $((SECONDS / 60)) min"
