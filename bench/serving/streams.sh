#!/usr/bin/env bash
# 1,000 streams of 20 events a second each, from one process, beside ASGI alone: the time between the events of a stream.
#   bench/serving/streams.sh     run.sh starts it at the end
#   PYTHON=python3   the interpreter that has predictor_base and uvicorn      STREAMS=1000
# The machine is shared, so each is measured twice in turn.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=$(mktemp -d)
python=$(command -v "${PYTHON:-python3}")
started=()
trap 'kill "${started[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$home"' EXIT
ulimit -n "$(ulimit -Hn)"

cat >"$home/settings.json" <<JSON
{"path": "streams.py", "name": "iris", "deploymentId": "iris-0123456789ab", "imageDigest": "sha256:0", "probePort": 9389, "maxConcurrency": 2000}
JSON
cd "$here/peers"
PYTHONPATH="$here/peers:$root" "$python" -m predictor_base --config "$home/settings.json" --host 127.0.0.1 --port 9380 >"$home/ours.log" 2>&1 &
started+=($!)
"$python" -m uvicorn app_streams:app --port 9381 --no-access-log --loop uvloop --http httptools >"$home/asgi.log" 2>&1 &
started+=($!)
declare -A port=([ours]=9380 [asgi]=9381)
for name in asgi ours; do
  for _ in $(seq 60); do curl -sf -o /dev/null -H 'Content-Type: application/json' --data '{}' "http://127.0.0.1:${port[$name]}/predict" && break || sleep 0.5; done
done
for _ in 1 2; do
  for name in asgi ours; do
    printf '%s streams   %-5s ' "${STREAMS:-1000}" "$name"
    "$python" "$here/streams.py" "${port[$name]}" "${STREAMS:-1000}"
  done
done
