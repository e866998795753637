#!/usr/bin/env bash
# The steps of script/test: one function each, which ends with 0 (passed), 77 (skipped, for
# want of what can be installed), 78 (skipped, for want of what cannot) or anything else (failed).
# Each step builds what it needs, so that it can run alone: script/test --only NAME.
#
#   script/steps.sh NAME     runs one step here, without a time limit; script/test adds limit, log and summary
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
# shellcheck source=script/needs.sh
source "$here/needs.sh"

cd "$root"
have_cargo || true
export CARGO_TERM_COLOR=never PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
target=${CARGO_TARGET_DIR:-$root/target}
python=$root/.venv/bin/python
length=${TEMPEST_TEST_LENGTH:-full}

# Says why a step does not run and ends it.
skip() {
  echo "skipped: $*"
  exit 77
}

# Says what this machine's distribution does not have, which no CI can mend, and ends the step.
do_without() {
  echo "skipped: $*"
  exit 78
}

# wants HAVE NAME: skips the step unless `have_HAVE` is content.
wants() { "have_$1" || skip "$2 is missing"; }

# A compiler beside a test that measures time would spoil it: compilers run at low priority.
compile() { nice -n 10 cargo "$@"; }

cargo_part() { cargo "$1" --version >/dev/null 2>&1 || skip "cargo $1 is missing (rustup component add $2)"; }

# --- Rust ----------------------------------------------------------------------------------------------------------

step_format() {
  cargo_part fmt rustfmt
  cargo fmt --all --check -- --color=never
}

step_clippy() {
  cargo_part clippy clippy
  compile clippy --locked --workspace --all-targets --quiet -- -D warnings
}

step_docs() { RUSTDOCFLAGS="-D warnings" compile doc --locked --workspace --no-deps --quiet; }

# Builds apart from running, so that the time of each is seen.
step_build() {
  compile build --locked --workspace --bins
  compile test --locked --workspace --no-run
}

step_fence() { cargo test --locked --no-fail-fast --package tempest --test fence; }

step_protocol() { cargo test --locked --no-fail-fast --package tempest-protocol; }

step_broker() {
  wants redis redis-server
  cargo test --locked --no-fail-fast --package tempest-broker
}

# The same tests, and those of the Rust worker, against the other server that speaks like Redis.
step_valkey() {
  have_valkey || do_without "valkey-server is not here (Debian has it from 13 on)"
  local without=()
  if ! have_valkey_tls; then
    echo "skipped: TLS with Valkey: this valkey-server was built without it"
    without=(--skip tls::)
  fi
  valkey-server --version
  TEMPEST_TEST_REDIS=valkey-server cargo test --locked --no-fail-fast --package tempest-broker \
    --package tempest-worker -- "${without[@]}"
}

# The unit tests of the other crates: no Redis, no ports.
step_units() { cargo test --locked --no-fail-fast --workspace --exclude tempest-protocol --exclude tempest-broker --lib --bins; }

# Everything else that is written in Rust.
step_rust() {
  wants redis redis-server
  cargo test --locked --no-fail-fast --workspace --exclude tempest-protocol --exclude tempest-broker
}

step_fuzz() {
  local seconds=5
  if [[ $length == long ]]; then seconds=60; fi
  cargo run --locked --quiet --package tempest-protocol-fuzz -- --seconds "$seconds"
}

# --- other languages -----------------------------------------------------------------------------------------------

step_shell() {
  wants shellcheck shellcheck
  local files=(script/bootstrap script/server script/test script/needs.sh script/steps.sh .ci/run) file
  while IFS= read -r file; do files+=("$file"); done < <(
    find . \( -name target -o -name node_modules -o -name '.?*' \) -prune -o -name '*.sh' -not -path './script/*' -print
  )
  shellcheck --external-sources "${files[@]}"
  echo "shellcheck: ${#files[@]} files passed"
}

# One configuration for all Python of the checkout, but for the hello worker that shows how short one can be.
step_python-format() {
  local config=(--config clients/python/pyproject.toml --no-cache --extend-exclude examples/hello/python)
  local folders=(clients/python script/tests examples acceptance bench) scripts
  # What has no ending is found by its first line.
  mapfile -t scripts < <(grep --recursive --files-with-matches --max-count=1 '^#!.*python' acceptance bench)
  "$python" -m ruff format --check "${config[@]}" "${folders[@]}" "${scripts[@]}"
  "$python" -m ruff check "${config[@]}" "${folders[@]}" "${scripts[@]}"
}

step_python-types() { (cd clients/python && "$python" -m mypy); }

step_python() {
  wants redis redis-server
  (cd clients/python && "$python" -m pytest -q)
}

# The workers without an SDK. A missing language is named; its own tests are left out, which CI does not allow.
step_hello() {
  wants redis redis-server
  local absent=()
  have_ruby || absent+=(ruby)
  have_node || absent+=(node)
  have_redis_cli || absent+=(sh)
  if ((${#absent[@]})); then
    printf 'skipped: the hello worker in %s\n' "${absent[@]}"
    [[ ${CI:-} != true ]] || return 1
  fi
  "$python" -m pytest -q examples/hello/tests
}

# --- benchmarks ----------------------------------------------------------------------------------------------------

# That every part runs and every answer is right; no figure is judged.
step_bench() {
  wants redis redis-server
  wants wrk wrk
  wants nginx nginx
  wants nchan "the nginx module nchan"
  compile build --locked --quiet --workspace --bins
  "$python" -m pytest -q bench/tests
  "$python" bench/compare --smoke --bin "$target/debug"
  "$python" bench/cancel/run --cancels 3 --bin "$target/debug"
  "$python" bench/recovery/run --smoke --bin "$target/debug"
  "$python" bench/overload/run --smoke --bin "$target/debug"
  "$python" bench/jobs/run --smoke --bin "$target/debug"
}

# Instructions of the hot path beside those that are stored.
step_instructions() {
  wants valgrind valgrind
  compile build --locked --quiet --release --package tempest-bench --bin bench-hotpath
  "$python" bench/instructions --bin "$target/release"
}

# --- the house -----------------------------------------------------------------------------------------------------

step_house() { "$python" -m pytest -q script/tests/test_bootstrap.py script/tests/test_steps.py; }

# Dockerfile, docker-compose.yml and deploy/, as far as a machine without Docker Engine and cluster can tell.
step_container() {
  compile build --locked --bins --package tempest --package tempest-example-hello
  TEMPEST_BIN_DIR=$target/debug "$python" -m pytest -q script/tests/test_container.py script/tests/test_deploy.py
  if docker compose version >/dev/null 2>&1; then
    docker compose --file docker-compose.yml config --quiet
    echo "docker compose config: passed"
  else
    echo "docker compose is not here: the file was checked by the tests above alone"
  fi
}

# acceptance FILE: judges the built binary from outside.
acceptance() {
  wants redis redis-server
  compile build --locked --quiet --bins --package tempest --package tempest-example-hello \
    --package tempest-example-traces --package tempest-example-jobs --package tempest-chaos-worker
  export TEMPEST_BIN=$target/debug/tempest TEMPEST_TEST_LENGTH=$length
  PATH="$target/debug:$root/.venv/bin:$PATH" "$root/acceptance/$1"
}

case ${1:-} in
  acceptance:*) acceptance "${1#acceptance:}" ;;
  *)
    declare -F "step_${1:-}" >/dev/null || {
      echo "steps.sh: no step named '${1:-}'" >&2
      exit 2
    }
    "step_$1"
    ;;
esac
