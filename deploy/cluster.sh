#!/bin/sh
# A Redis Cluster of three primaries and three replicas on loopback, and two gateways before it, for trying out. Ctrl-C
# stops all of it and leaves nothing behind. CLUSTER_PORT (7100) is the first of six ports of Redis, GATEWAY_PORT (8001)
# the first of two of the gateways.
set -eu
cd "$(dirname "$0")/.."
redis=${CLUSTER_PORT:-7100}
gateway=${GATEWAY_PORT:-8001}

for needed in redis-server redis-cli go curl; do
	command -v "$needed" >/dev/null || {
		echo "cluster.sh needs $needed (Debian: apt install redis-server golang curl)" >&2
		exit 1
	}
done

home=$(mktemp -d)
pids=
stop() {
	trap - EXIT INT TERM
	for pid in $pids; do kill "$pid" 2>/dev/null || :; done
	for pid in $pids; do wait "$pid" 2>/dev/null || :; done
	rm -rf "$home"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# until COMMAND…: it succeeds within ten seconds.
until_ok() {
	for _ in $(seq 100); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	echo "cluster.sh: never came: $*" >&2
	exit 1
}

servers=
for i in 0 1 2 3 4 5; do
	port=$((redis + i))
	mkdir "$home/$port"
	redis-server --port $port --bind 127.0.0.1 --dir "$home/$port" --save '' --cluster-enabled yes \
		--cluster-node-timeout 2000 --logfile "$home/$port/log" &
	pids="$pids $!"
	servers="$servers 127.0.0.1:$port"
	until_ok redis-cli -p $port ping
done
# shellcheck disable=SC2086 # they are six
redis-cli --cluster create $servers --cluster-replicas 1 --cluster-yes | grep -E 'OK|ERR'
for i in 0 1 2 3 4 5; do until_ok sh -c "redis-cli -p $((redis + i)) cluster info | grep -q cluster_state:ok"; done

go build -o "$home/oncegate" .
for i in 0 1; do
	LISTEN=127.0.0.1:$((gateway + i)) ADMIN_LISTEN=127.0.0.1:$((gateway + 1000 + i)) \
		REDIS_URL=redis://127.0.0.1:$redis "$home/oncegate" &
	pids="$pids $!"
done
for i in 0 1; do until_ok curl -fsS "localhost:$((gateway + i))/readyz"; done

cat <<END

Two gateways before a cluster. Try it, on one and on the other:
  curl -i localhost:$gateway/webhook/cognigy -H 'Content-Type: application/json' \\
    -d '{"dialogId":"d-0001","nodeId":"n-0001","sequence":7}'
  curl -i localhost:$((gateway + 1))/webhook/cognigy -H 'Content-Type: application/json' \\
    -d '{"dialogId":"d-0001","nodeId":"n-0001","sequence":7}'
End a primary, and see the other buckets go on:
  redis-cli -p $redis shutdown nosave
Look at what was counted:
  REDIS_URL=redis://127.0.0.1:$((redis + 1)) go run . stats
Ctrl-C stops all of it.
END
# One server may end, that is what it is for; all of it ends with the gateways.
# shellcheck disable=SC2086
wait $(echo $pids | cut -d' ' -f7-8)
