#!/usr/bin/env bash
# Test and measure the engine on a GPU within ten minutes, on a machine without network.
#
#   benchmark/gpu.sh wheels       on a machine with network: fill benchmark/travels, which must travel beside this file
#   benchmark/gpu.sh              on the machine with the GPU, which has Python 3.12, torch, torchvision, NumPy, SciPy,
#                                 pandas and Matplotlib
#   benchmark/gpu.sh speed jax    only some of the parts: tests equality speed jax profile
#
# OUT is the folder for the results (default: gpu-results); gpu.md in it becomes docs/explanation/gpu-benchmark.md. DEVICE=cpu SMALL=1 tries
# the script without a GPU. PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD travels=$PWD/benchmark/travels out=$(realpath -m "${OUT:-gpu-results}")

if [ "${1:-}" = wheels ]; then
    rm -rf "$travels"
    mkdir -p "$travels/wheels" "$travels/data"
    pip="${PYTHON:-.venv/bin/python} -m pip"
    # What machines with torch lack. Plotly and the like are missing: reports are not written there.
    $pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        --constraint constraints.txt --dest "$travels/wheels" hydra-core omegaconf optuna alembic sqlalchemy greenlet \
        colorlog mako pebble pydantic pydantic-core annotated-types typing-inspection typing-extensions pooch \
        platformdirs filelock rich markdown-it-py mdurl pygments hydra-joblib-launcher tqdm packaging pyyaml \
        pytest pluggy iniconfig execnet pytest-xdist psutil
    $pip wheel --quiet --no-deps --constraint constraints.txt --wheel-dir "$travels/wheels" antlr4-python3-runtime
    folder=$(${PYTHON:-.venv/bin/python} -m fmnist_sweep.data)
    for file in "$folder"/*-ubyte; do gzip -9 -n <"$file" >"$travels/data/$(basename "$file").gz"; done
    size=$(( $(du -sb "$travels" | cut -f1) + $(git ls-files -z | du -cb --files0-from=- | tail -1 | cut -f1) ))
    echo "$travels and the repository: $(( size >> 20 )) MiB"
    [ "$size" -le $(( 64 << 20 )) ] || { echo "that is more than 64 MiB; leave out some wheels"; exit 1; }
    exit
fi

mkdir -p "$out"
python=${PYTHON:-python3} work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
$python -m pip install --quiet --no-index --no-deps --no-compile --target "$work/site" "$travels"/wheels/*.whl
export PYTHONPATH=$here:$here/tests:$work/site XDG_CACHE_HOME=$work/cache TMPDIR=$work PYTHONUNBUFFERED=1
export MKL_CBWR=AUTO,STRICT OMP_NUM_THREADS=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
mkdir -p "$XDG_CACHE_HOME/fmnist_sweep"
cp "$travels"/data/* "$XDG_CACHE_HOME/fmnist_sweep"
$python -m fmnist_sweep.data

# Seconds for each part. A part that is cut leaves what it has found.
declare -A seconds=([tests]=140 [equality]=80 [speed]=160 [jax]=110 [profile]=40)
for part in ${*:-tests equality speed jax profile}; do
    echo "== $part, at most ${seconds[$part]} s"
    timeout --kill-after=5 "${seconds[$part]}" $python -m benchmark.gpu "$part" --device "${DEVICE:-cuda}" \
        ${SMALL:+--small} --output "$out" --seconds "${seconds[$part]}" 2>&1 | tee "$out/$part.log" ||
        echo "$part ended with ${PIPESTATUS[0]} (124: its time was up)" | tee -a "$out/$part.log"
done
