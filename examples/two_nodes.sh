#!/usr/bin/env bash
# Train on two "nodes" that are both on this machine: what docs/scaling.md does on two machines.
#
#   bash examples/two_nodes.sh runs/two-nodes --env_name CartPole-v1 --num_epochs 5
set -eu
run=${1:?the folder of the run, then flags of ssm-metarl train}
shift
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
for node in first second; do
  torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint "127.0.0.1:$port" \
    -m ssm_metarl train --run_dir "$run" "$@" &
  nodes="${nodes:-} $!"
done
trap 'kill $nodes 2>/dev/null || true' EXIT
for node in $nodes; do wait "$node"; done
