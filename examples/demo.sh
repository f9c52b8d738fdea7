#!/usr/bin/env bash
# What `make demo` runs: meta-train on CartPoles with different physics, adapt to 100 held-out ones, and compare with
# no adaptation and with an untrained network. By hand: PATH=.venv/bin:$PATH bash examples/demo.sh
set -euo pipefail
run=${1:-runs/demo}

if [ -e "$run" ]; then
  echo "$run already exists; to start over, remove it first: rm -r $run" >&2
  exit 2
fi

ssm-metarl train --mode meta_rl --env CartPole-v1 --run_dir "$run" --seed 0
ssm-metarl evaluate "$run" --modes zero_shot,standard,hybrid,from_scratch --episodes 1,5,20 --tasks 100 --seed 0

echo
echo "Everything is in $run:"
while read -r name what; do
  if [ -e "$run/$name" ]; then printf '  %-16s %s\n' "$name" "$what"; fi
done <<'LIST'
config.json      every setting of the run
metrics.jsonl    one line per training iteration
checkpoint       the trained agent (safetensors and JSON)
experience       episodes of training tasks, for hybrid adaptation
evaluation.json  the table above, with the return on every task
figures          learning, adaptation, and each task before and after
videos           one swapped CartPole, before and after adapting
LIST
