#!/usr/bin/env bash
# The proxy before ready-made containers beside nginx and beside one of httpx and uvicorn: the same small answer of nginx behind each.
#   bench/serving/proxies.sh     wants nginx and wrk on PATH; run.sh starts it at the end
#   PYTHON=python3   the interpreter that has predictor_base      BENCH_HOME   as in run.sh      SECS=6   seconds of load for each
# Columns: requests/s at 32 connections, share of nginx, p99, CPU of the proxy for each request, requests/s where each request has an id of its
# own (a head that was read before is not parsed again), MB/s of answers of 4 MB.
# The machine is shared, so each is measured three times in turn; the best counts.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=$(mktemp -d)
python=$(command -v "${PYTHON:-python3}")
uvicorn=${BENCH_HOME:-$root/.bench-serving}/proxy/bin/uvicorn
secs=${SECS:-6}
started=()
trap 'kill "${started[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$home"' EXIT

server() { # port body-of-server
  mkdir -p "$home/$1/logs"
  cat >"$home/$1/nginx.conf" <<CONF
daemon off; master_process off; pid $home/$1/pid; error_log $home/$1/error.log;
events { worker_connections 512; }
http { access_log off; client_body_temp_path $home/$1/a; proxy_temp_path $home/$1/b; fastcgi_temp_path $home/$1/c; uwsgi_temp_path $home/$1/d; scgi_temp_path $home/$1/e;
  keepalive_requests 100000000; upstream container { server 127.0.0.1:9290; keepalive 64; }
  server { listen 127.0.0.1:$1; $2 } }
CONF
  nginx -p "$home/$1" -c "$home/$1/nginx.conf" >/dev/null 2>&1 &
  started+=($!)
}

ticks() { # pid: CPU of it and its children
  local each sum=0
  for each in "$1" $(pgrep -P "$1" || true); do sum=$((sum + $(awk '{print $14 + $15}' "/proc/$each/stat"))); done
  echo $sum
}

head -c 4194304 /dev/urandom >"$home/large"
server 9290 "root $home; location = /large { } location / { default_type application/json; return 200 '{\"prediction\": 1}'; }"
server 9291 "location / { proxy_pass http://container; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffering off; }"
declare -A port=([nginx]=9291 [ours]=9292 [httpx]=9293) pid=([nginx]=${started[1]}) best=() cpu=() p99=() large=() fresh=()
echo '{"upstreamPort": 9290, "name": "iris", "deploymentId": "iris-0123456789ab", "maxConcurrency": 64, "probePort": 9299}' >"$home/settings.json"
PYTHONPATH=$root "$python" -m predictor_base --config "$home/settings.json" --host 127.0.0.1 --port 9292 >"$home/ours.log" 2>&1 &
started+=($!) pid[ours]=$!
names=(nginx ours)
if [ -x "$uvicorn" ]; then
  (cd "$here/peers" && UPSTREAM=http://127.0.0.1:9290 exec "$uvicorn" app_proxy:app --port 9293 --no-access-log) >"$home/httpx.log" 2>&1 &
  started+=($!) pid[httpx]=$!
  names+=(httpx)
fi
for name in "${names[@]}"; do
  for _ in $(seq 60); do curl -sf -o /dev/null "http://127.0.0.1:${port[$name]}/predict" && break || sleep 0.5; done
done

for _ in 1 2 3; do
  for name in "${names[@]}"; do
    url=http://127.0.0.1:${port[$name]}
    before=$(ticks "${pid[$name]}")
    out=$(wrk -t1 -c32 -d"${secs}s" --latency -s "$here/v1.lua" "$url/predict")
    after=$(ticks "${pid[$name]}")
    grep -E 'Non-2xx|Socket' <<<"$out" || true
    rate=$(awk '/Requests\/sec/{print int($2)}' <<<"$out")
    if [ "$rate" -gt "${best[$name]:-0}" ]; then
      best[$name]=$rate p99[$name]=$(awk '/ 99%/{print $2}' <<<"$out")
      cpu[$name]=$(awk -v t=$((after - before)) '/requests in/{printf "%.1f", t * 10000 / $1}' <<<"$out")
      fresh[$name]=$(wrk -t1 -c32 -d"${secs}s" -s "$here/fresh.lua" "$url/predict" | awk '/Requests\/sec/{print int($2)}')
      large[$name]=$(wrk -t1 -c4 -d2s "$url/large" | awk '/Requests\/sec/{print int($2 * 4.194304)}')
    fi
  done
done
for name in "${names[@]}"; do
  printf 'proxy %-6s %7s req/s  %.2f of nginx  p99 %8s  CPU %6s us/request  own ids %6s req/s  4 MB answers %5s MB/s\n' "$name" "${best[$name]}" \
    "$(awk -v a="${best[$name]}" -v b="${best[nginx]}" 'BEGIN{print a / b}')" "${p99[$name]}" "${cpu[$name]}" "${fresh[$name]}" "${large[$name]}"
done
