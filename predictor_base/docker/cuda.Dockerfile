# The base image of predictors whose wheels load CUDA from the system (CuPy, TensorRT, ONNX Runtime).
#
#   make base-image VARIANT=cuda IMAGE=ghcr.io/acme/base:3.12-cuda12.8 PUSH=1
#
# NVIDIA's image, with the Python of the official image copied into it: the same interpreter as on CPUs,
# any version, and no third-party package archive. The Python is built on Debian 12, whose glibc is older
# than Ubuntu 24.04's. See cpu.Dockerfile for the rest.
#
# The node provides the driver: its container toolkit mounts it, and needs the variables below.
ARG CUDA=docker.io/nvidia/cuda:12.8.1-runtime-ubuntu24.04@sha256:ebef3c171eeef0298e4eb2e4be843105edf3b8b0ac45e0b43acee358e8046867
ARG PYTHON=docker.io/library/python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254
FROM ${PYTHON} AS python

FROM ${CUDA}
ARG CUDA
ARG PYTHON_MINOR=3.12
# Libraries of the interpreter and of wheels, by their names in Ubuntu 24.04.
ARG PACKAGES="ca-certificates libbz2-1.0 libexpat1 libffi8 libgomp1 liblzma5 libncursesw6 libreadline8t64 libsqlite3-0 libssl3t64 libuuid1 tzdata zlib1g"
USER 0
# hadolint ignore=DL3008,SC2086
RUN if [ -n "$PACKAGES" ]; then \
      apt-get update -q \
      && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $PACKAGES \
      && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=python /usr/local/ /usr/local/
ENV PATH=/usr/local/bin:/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
RUN if command -v ldconfig > /dev/null; then ldconfig; fi \
 && python3 -c "import sys; has = '%d.%d' % sys.version_info[:2]; \
    sys.exit(has != '$PYTHON_MINOR' and 'PYTHON has Python %s, but PYTHON_MINOR is $PYTHON_MINOR' % has)" \
 && python3 -m compileall -q -j 0 -x '/(lib2to3|site-packages|tests?)/' --invalidation-mode unchecked-hash \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && if ! grep -q '^predictor:' /etc/passwd; then \
      echo 'predictor:x:10001:10001::/tmp:/bin/false' >> /etc/passwd \
      && echo 'predictor:x:10001:' >> /etc/group; \
    fi
ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHON_VERSION=${PYTHON_MINOR} \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64:/usr/local/cuda/lib64 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
LABEL org.opencontainers.image.title="gitops-ml predictor base (CUDA)" \
      org.opencontainers.image.base.name="${CUDA}"
WORKDIR /app
USER 10001:10001
RUN python3 -c "import ctypes, ensurepip, getpass, sqlite3, ssl, venv, zoneinfo; \
    assert getpass.getuser() == 'predictor'"
