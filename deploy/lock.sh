#!/usr/bin/env bash
# Writes deploy/requirements.lock: every package of the image with its version and digests, but for
# torch and CUDA. The image takes torch's CPU wheel, whose digests are another index's.
set -euo pipefail
cd "$(dirname "$0")/.."
cuda=$(printf -- '--no-emit-package=%s ' torch triton cuda-bindings cuda-pathfinder cuda-toolkit \
  nvidia-{cublas,cuda-cupti,cuda-nvrtc,cuda-runtime,cudnn-cu13,cufft,cufile,curand,cusolver,cusparse} \
  nvidia-{cusparselt-cu13,nccl-cu13,nvjitlink,nvshmem-cu13,nvtx})
# shellcheck disable=SC2086
uv pip compile pyproject.toml --quiet --extra all --extra postgres --extra s3 --extra gcs \
  --constraint deploy/constraints.txt --generate-hashes --no-annotate --no-header \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 $cuda \
  --output-file deploy/requirements.lock
