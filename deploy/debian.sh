#!/usr/bin/env bash
# Makes a base image of Debian 12, whose Python is 3.11, from this machine's own Debian mirror, for machines that reach
# no registry of images:  make image BASE="$(deploy/debian.sh)".  Needs root, debootstrap and buildah.
set -euo pipefail
name=localhost/debian-python:bookworm
mirror=$(apt-get indextargets --format '$(COMPONENT) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "main" && !seen++ { print $2 }')
root=$(mktemp -d)
# debootstrap mounts them, and leaves them mounted when it is interrupted.
release() { umount --quiet "$root"/{proc,sys} || true; }
trap 'release; rm -rf --one-file-system "$root"' EXIT
# Nothing here must outlive a power cut, so dpkg need not wait for the disk.
DPKG_FORCE=unsafe-io debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root" "$mirror" >&2
release
# Removes what is specific to this machine, and what a container engine provides.
rm -rf --one-file-system "$root"/etc/apt/sources.list "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/{dev,proc,sys}/*
container=$(buildah from scratch)
buildah add --quiet "$container" "$root" / >&2
buildah commit --quiet --rm "$container" "$name" >&2
echo "$name"
