#!/usr/bin/env bash
# What only a GPU can tell, in ten minutes: the gpu-marked tests, all ratios, and a short training with its losses.
#
#   scripts/gpu_check.sh [--device cuda] [--quick]
#
# Needs a GPU machine with Python >= 3.11; installs the project's own extras into .venv and nothing else (where a .venv is
# there already it is used as it is). --device cpu --quick goes through the same steps in a small way on any machine.
# Every step is taken, whatever became of the one before; the exit code is the number of steps that failed.
set -uo pipefail
cd "$(dirname "$0")/.."

device=cuda
quick=""
while [ $# -gt 0 ]; do
    case "$1" in
        --device) device="${2:?expected cuda or cpu after --device}"; shift 2 ;;
        --quick) quick=yes; shift ;;
        -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "expected --device cuda|cpu or --quick, received $1" >&2; exit 2 ;;
    esac
done

python=.venv/bin/python
if [ ! -x "$python" ]; then
    "${PYTHON:-python3}" -m venv .venv
    "$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fast,import,onnx,train,dev]' || exit 2
fi
if [ "$device" != cpu ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "expected a CUDA device that torch can use, found none: run on a GPU machine, or give --device cpu --quick" >&2
    exit 2
fi
export PYTHONPATH="$PWD/src" PYTHONUNBUFFERED=1
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

if [ -n "$quick" ]; then
    turns=1 repeats=1 scale=0.125 rows=128 faces=16 steps=4 only=dlib patience=5
else
    turns=5 repeats=10 scale=8 rows=4096 faces=2000 steps=150 only="" patience=1
fi

failed=0
step() {  # name, most seconds, command ...
    local name="$1" most="$(($2 * patience))" start=$SECONDS code=0
    shift 2
    printf '\n== %s\n' "$name"
    timeout "$most" "$@" || code=$?
    if [ "$code" -ne 0 ]; then
        failed=$((failed + 1))
        printf -- '-- %s: FAILED with exit code %s (124: stopped after %s s)\n' "$name" "$code" "$most"
    fi
    printf -- '-- %s: %s s\n' "$name" "$((SECONDS - start))"
}

step "this machine" 60 "$python" -c '
import os, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(f"{gpu}, {os.cpu_count()} cores, torch {torch.__version__}")'

if [ "$device" = cpu ]; then
    step "tests that need a GPU: collected" 120 "$python" -m pytest -m gpu --collect-only tests/gpu
else
    step "tests that need a GPU" 240 "$python" -m pytest -m gpu --timeout=200 --durations=5 tests/gpu
fi
step "rasterisers" 60 "$python" benchmarks/bench_rasterizers.py --repeats "$repeats" --device "$device"
step "training step beside the bare network" 120 "$python" benchmarks/bench_training.py \
    --turns "$turns" --batch-scale "$scale" --device "$device" --only "$only"
step "loader beside the bare network" 60 "$python" benchmarks/bench_loader.py \
    --turns "$turns" --rows "$rows" --device "$device"
if [ -f benchmarks/bench_drawing.py ]; then
    step "drawing" 60 "$python" benchmarks/bench_drawing.py
fi
step "drawn faces for the training" 120 "$python" -m facewright train synthesize --out "$work/data" --count "$faces" \
    --workers "$(nproc)"
step "a short training" 120 "$python" -m facewright train rnet --preset smoke --data "$work/data" --out "$work/run" \
    --steps "$steps" --checkpoint-every "$steps" --sheet-every "$steps" --log-every "$((steps > 10 ? steps / 10 : 1))" --device "$device"
step "its losses" 10 "$python" - "$work/run/log.jsonl" <<'LOSSES'
import json
import sys
from pathlib import Path

rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
losses = [row["total"] for row in rows if "total" in row]
for row in rows:
    if "total" in row:
        print(f"step {row['step']:>5}  loss {row['total']:.4f}")
sys.exit(not losses or any(loss != loss for loss in losses))
LOSSES

printf '\n%s steps failed, %s s in all\n' "$failed" "$SECONDS"
exit "$failed"
