#!/usr/bin/env bash
# Sourced: buildah with a store of our own, which needs neither a daemon nor
# namespaces and leaves the user's images alone.

image_cache=${MINIO_SIDECAR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/minio-sidecar}/images

# need PROGRAM [PACKAGE] sees to it that PROGRAM is there.
need() {
    command -v "$1" >/dev/null && return
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        echo "$0: $1 is needed; install it (Debian: apt-get install ${2:-$1})" >&2
        return 1
    fi
    echo "$0: installing ${2:-$1}" >&2
    {
        [[ -n $(apt-cache policy "${2:-$1}") ]] || apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${2:-$1}"
    } >/dev/null
}

# run_buildah ARGS... Mounts of type "cache" end up below TMPDIR.
run_buildah() {
    mkdir -p "$image_cache/tmp"
    TMPDIR=$image_cache/tmp BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs \
        buildah --root "$image_cache/store" --runroot "$image_cache/run" "$@"
}
