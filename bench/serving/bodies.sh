#!/usr/bin/env bash
# Bodies of 4 MB beside ASGI alone that reads the same bytes: a JPEG, the same in a form with parts, a binary tensor of Open Inference.
#   bench/serving/bodies.sh     wants wrk on PATH; run.sh starts it at the end
#   PYTHON=python3   the interpreter that has predictor_base, numpy and uvicorn      SECS=6   seconds of load for each
# Columns: requests/s at 4 connections, share of ASGI alone (with the defaults of its libc), p99. The machine is shared, so each is
# measured three times in turn; the best counts.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=$(mktemp -d)
python=$(command -v "${PYTHON:-python3}")
secs=${SECS:-6}
started=()
trap 'kill "${started[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$home"' EXIT

head -c 4194304 /dev/urandom >"$home/content"
cat >"$home/settings.json" <<JSON
{"path": "bodies.py", "name": "iris", "deploymentId": "iris-0123456789ab", "imageDigest": "sha256:0", "probePort": 9399}
JSON
cd "$here/peers"
PYTHONPATH="$here/peers:$root" "$python" -m predictor_base --config "$home/settings.json" --host 127.0.0.1 --port 9390 >"$home/ours.log" 2>&1 &
started+=($!)
"$python" -m uvicorn app_bodies:app --port 9391 --no-access-log --loop uvloop --http httptools >"$home/asgi.log" 2>&1 &
started+=($!)
declare -A port=([ours]=9390 [asgi]=9391) path=([jpeg]=/predict [multipart]=/predict [tensor]=/v2/models/iris/infer) best=() p99=()
for name in asgi ours; do
  for _ in $(seq 60); do curl -sf -o /dev/null -H 'Content-Type: image/jpeg' --data x "http://127.0.0.1:${port[$name]}/predict" && break || sleep 0.5; done
done

for _ in 1 2 3; do
  for kind in jpeg multipart tensor; do
    for name in asgi ours; do
      out=$(wrk -t1 -c4 -d"${secs}s" --latency -s "$here/bodies.lua" "http://127.0.0.1:${port[$name]}${path[$kind]}" -- "$home/content" "$kind")
      grep -E 'Non-2xx|Socket' <<<"$out" || true
      rate=$(awk '/Requests\/sec/{print int($2)}' <<<"$out")
      if [ "$rate" -gt "${best[$name-$kind]:-0}" ]; then
        best[$name-$kind]=$rate p99[$name-$kind]=$(awk '/ 99%/{print $2}' <<<"$out")
      fi
    done
  done
done
for kind in jpeg multipart tensor; do
  for name in asgi ours; do
    printf '4 MB %-9s %-5s %6s req/s  %.2f of asgi  p99 %8s\n' "$kind" "$name" "${best[$name-$kind]}" \
      "$(awk -v a="${best[$name-$kind]}" -v b="${best[asgi-$kind]}" 'BEGIN{print a / b}')" "${p99[$name-$kind]}"
  done
done
