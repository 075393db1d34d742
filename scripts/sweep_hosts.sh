#!/bin/bash
# A sweep on several plain hosts that reach one another by ssh and share a folder:
#
#   scripts/sweep_hosts.sh sweep.toml /shared/results.zarr host1 host2 host3
#
# The first host is the coordinator, at a port that the others can reach (PORT, 12345 by default).
# The same by hand, in a terminal on each host, or in two terminals of one machine with
# 127.0.0.1:12345 as the coordinator:
#
#   jaxdend sweep sweep.toml --out /shared/results.zarr --resume \
#       --coordinator host1:12345 --processes 3 --process-id 0      # 1 and 2 on the others
#
# Ctrl-C here ends all of them, with the loss of the chunks that they were computing; the same command
# goes on. So it does after a host was lost: the others notice within two minutes and end.
set -u
sweep=$(realpath "$1")
store=$(realpath -m "$2")
shift 2
port=${PORT:-12345}
coordinator=$1:$port
count=$#

tasks=()
index=0
for host in "$@"; do
    # with a terminal (-tt) the process there ends with the connection
    ssh -tt "$host" "cd '$PWD' && jaxdend sweep '$sweep' --out '$store' --resume \
        --coordinator '$coordinator' --processes $count --process-id $index" </dev/null &
    tasks+=($!)
    index=$((index + 1))
done

trap 'kill -INT "${tasks[@]}" 2>/dev/null' INT TERM
status=0
for task in "${tasks[@]}"; do
    wait "$task" || status=$?
done
exit "$status"
