#!/usr/bin/env bash
# The same small model behind gitops-ml's runtime and behind each peer, one worker process each, measured in one run with wrk.
#   bench/serving/run.sh setup        one environment per peer; wants wrk on PATH to measure
#   bench/serving/run.sh [NAME ...]   measure: ours threads asgi fastapi flask kserve mlserver litserve bentoml
# Then, without names, bodies of 4 MB (bodies.sh), 1,000 streams (streams.sh), and the proxy before ready-made containers (proxies.sh), where nginx is on PATH.
#   PYTHON=python3   the interpreter that has predictor_base and numpy      UV=uv   the uv that installs the peers
#   BENCH_HOME       where the peers' environments are, default .bench-serving      SECS=6   seconds of load for each
# Columns: requests/s at 32 connections, p50, p99, p50 at 1 connection, resident memory; then answers that are not 2xx, if any.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=${BENCH_HOME:-$root/.bench-serving}
secs=${SECS:-6}
declare -A need=([asgi]="uvicorn uvloop httptools" [fastapi]="fastapi uvicorn uvloop httptools" [flask]="flask gunicorn"
  [bentoml]="bentoml" [mlserver]="mlserver" [kserve]="kserve" [litserve]="litserve"
  [proxy]="uvicorn uvloop httptools httpx")

if [ "${1:-}" = setup ]; then
  uv=${UV:-uv}
  for name in "${!need[@]}"; do
    echo "$name"
    "$uv" venv --quiet --clear "$home/$name"
    # shellcheck disable=SC2086 # a list of packages
    "$uv" pip install --quiet --python "$home/$name/bin/python" ${need[$name]} numpy orjson
  done
  exit
fi

python=$(command -v "${PYTHON:-python3}")
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
cat >"$settings" <<JSON
{"path": "predictor.py", "name": "iris", "deploymentId": "iris-0123456789ab", "imageDigest": "sha256:0"}
JSON

measure() { # name port path script command...
  local name=$1 url="http://127.0.0.1:$2$3" script=$here/$4 pid busy alone
  shift 4
  setsid "$@" >"$home/$name.log" 2>&1 &
  pid=$!
  for _ in $(seq 120); do
    curl -s -o /dev/null -X POST -H 'Content-Type: application/json' -d '{}' "$url" && break
    sleep 0.5
  done
  sleep 1
  wrk -t1 -c32 -d2s -s "$script" "$url" >/dev/null
  busy=$(wrk -t1 -c32 -d"${secs}s" --latency -s "$script" "$url")
  alone=$(wrk -t1 -c1 -d2s --latency -s "$script" "$url")
  printf '%-10s %9s req/s  p50 %8s  p99 %8s  p50@1 %8s  rss %5.0f MB %s\n' "$name" \
    "$(awk '/Requests\/sec/{print $2}' <<<"$busy")" "$(awk '/ 50%/{print $2}' <<<"$busy")" \
    "$(awk '/ 99%/{print $2}' <<<"$busy")" "$(awk '/ 50%/{print $2}' <<<"$alone")" \
    "$(ps -o rss= --ppid $pid -p $pid | awk '{s+=$1}END{print s/1024}')" "$(grep -E 'Non-2xx|Socket' <<<"$busy" || true)"
  kill -TERM -- -$pid 2>/dev/null || true
  sleep 1
  kill -KILL -- -$pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
}

mkdir -p "$home"
cd "$here/peers"
# The figures are for a machine without other work; beside it, only those of one run compare.
echo "load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo unknown), $(getconf _NPROCESSORS_ONLN) processors"
export BENTOML_DO_NOT_TRACK=1 PYTHONPATH="$here/peers:$root"
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(ours threads asgi fastapi flask kserve mlserver litserve bentoml)
for name in "${names[@]}"; do
  case $name in
    # metrics, request ids and deployment headers on: what every predictor has by default
    ours) measure ours 9190 /predict v1.lua "$python" -m predictor_base --config "$settings" --host 127.0.0.1 --port 9190 ;;
    # ours with `threads_per_process: 8` and `inline: never`
    threads)
      sed 's/}/, "threadsPerProcess": 8, "inline": "never"}/' "$settings" >"$home/threads.json"
      measure threads 9189 /predict v1.lua "$python" -m predictor_base --config "$home/threads.json" --host 127.0.0.1 --port 9189 ;;
    asgi) measure asgi 9191 /predict v1.lua "$home/asgi/bin/uvicorn" app_asgi:app --port 9191 --no-access-log --loop uvloop --http httptools ;;
    fastapi) measure fastapi 9192 /predict v1.lua "$home/fastapi/bin/uvicorn" app_fastapi:app --port 9192 --no-access-log --loop uvloop --http httptools ;;
    flask) measure flask 9193 /predict v1.lua "$home/flask/bin/gunicorn" -w 1 --threads 8 -b 127.0.0.1:9193 app_flask:app ;;
    kserve) measure kserve 9194 /v1/models/iris:predict v1.lua "$home/kserve/bin/python" app_kserve.py --http_port 9194 ;;
    mlserver)
      export MLSERVER_HTTP_PORT=9195 MLSERVER_GRPC_PORT=9295 MLSERVER_METRICS_PORT=9395 MLSERVER_PARALLEL_WORKERS=0
      measure mlserver 9195 /v2/models/iris/infer v2.lua "$home/mlserver/bin/mlserver" start mlserver ;;
    litserve) measure litserve 9196 /predict v1.lua "$home/litserve/bin/python" app_litserve.py 9196 ;;
    bentoml) measure bentoml 9197 /predict v1.lua "$home/bentoml/bin/bentoml" serve bento_service:Iris --port 9197 ;;
    *) echo "unknown peer $name" >&2; exit 2 ;;
  esac
done
if [ $# -eq 0 ]; then
  SECS=$secs PYTHON=$python "$here/bodies.sh"
  PYTHON=$python "$here/streams.sh"
fi
if [ $# -eq 0 ] && command -v nginx >/dev/null; then
  BENCH_HOME=$home SECS=$secs PYTHON=$python "$here/proxies.sh"
fi
