# The base image of predictors: Python, the system libraries that wheels expect, and the user of the pods.
#
#   make base-image IMAGE=ghcr.io/acme/base:3.12 PUSH=1
#
# and put the printed reference into gitops-ml.yaml: `image: {base: "ghcr.io/acme/base:3.12@sha256:…"}`.
#
# It contains no Python packages. An image gets all packages from its lock, including the runtime's, and a
# second copy here would only be pulled and hidden. GPUs need no other base image where the wheels contain
# CUDA, as those of PyTorch do; cuda.Dockerfile is for wheels that load CUDA from the system.
#
# Another Python:
#   BUILD_ARGS="--build-arg PYTHON=docker.io/library/python:3.11-slim@sha256:… --build-arg PYTHON_MINOR=3.11"
ARG PYTHON=docker.io/library/python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea
FROM ${PYTHON}
ARG PYTHON
ARG PYTHON_MINOR=3.12
# libgomp1 is the one library that wheels commonly leave to the system (LightGBM, XGBoost).
ARG PACKAGES="ca-certificates libgomp1 tzdata"
USER 0
# Today's Debian packages are right: image.base pins the result by digest.
# hadolint ignore=DL3008,SC2086
RUN if [ -n "$PACKAGES" ]; then \
      apt-get update -q \
      && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $PACKAGES \
      && rm -rf /var/lib/apt/lists/*; \
    fi
# Compile the standard library, whose bytecode official images lack: pods have a read-only root and could
# not keep it. Add a user with a name, because some libraries need one. The last step checks both.
RUN python3 -c "import sys; has = '%d.%d' % sys.version_info[:2]; \
    sys.exit(has != '$PYTHON_MINOR' and 'PYTHON has Python %s, but PYTHON_MINOR is $PYTHON_MINOR' % has)" \
 && python3 -m compileall -q -j 0 -x '/(lib2to3|site-packages|tests?)/' --invalidation-mode unchecked-hash \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && if ! grep -q '^predictor:' /etc/passwd; then \
      echo 'predictor:x:10001:10001::/tmp:/bin/false' >> /etc/passwd \
      && echo 'predictor:x:10001:' >> /etc/group; \
    fi
ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHON_VERSION=${PYTHON_MINOR}
LABEL org.opencontainers.image.title="gitops-ml predictor base (CPU)" \
      org.opencontainers.image.base.name="${PYTHON}"
WORKDIR /app
USER 10001:10001
RUN python3 -c "import ctypes, ensurepip, getpass, sqlite3, ssl, venv, zoneinfo; \
    assert getpass.getuser() == 'predictor'"
