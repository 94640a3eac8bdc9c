#!/usr/bin/env bash
# The runtime beside its peers, in one run: `bench/serving/run.sh setup` once, then `bench/serving/run.sh [NAME ...]`.
#   SHARED=../shared   where the peers and their bench are
#   PYTHON=python3     the interpreter that has predictor_base and numpy
#   BENCH_HOME         where the peers' environments are kept, default .bench-serving
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
shared=$(cd "$root" && cd "${SHARED:-../shared}" && pwd)
python=$(command -v "${PYTHON:-python3}")
export BENCH_HOME=${BENCH_HOME:-$root/.bench-serving}
if [ "${1:-}" = setup ]; then exec bash "$shared/bench/serving/run.sh" setup; fi

settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
cat >"$settings" <<JSON
{"path": "predictor.py", "name": "iris", "deploymentId": "iris-0123456789ab", "imageDigest": "sha256:0"}
JSON
# one process, one thread, metrics, request ids and deployment headers on: what every predictor has by default
export OURS="env PYTHONPATH=$root:$shared/bench/serving/peers $python -m predictor_base --config $settings --host 127.0.0.1 --port 9190"
export OURS_PATH=/predict
bash "$shared/bench/serving/run.sh" "$@"
