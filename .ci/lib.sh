# Shared by .ci/run and .ci/pythons. The checkout is only read: everything is made in $work, which goes away at exit.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
export PYRIGHT_PYTHON_IGNORE_WARNINGS=1 RUFF_OUTPUT_FORMAT=concise

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$top/../shared/tools # optional: scripts that provide Pythons which are hard to get
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/logs" "$work/failed" "$work/junit" "$work/clone" "$work/away"

# pytest's own limit ends a test that hangs; this one ends a run that does, at its exit say.
limited=(timeout --signal=ABRT --kill-after=10 900)

# copy_tree FOLDER [PATHSPEC...]: what a fresh clone would hold, together with changes that are not committed yet.
copy_tree() {
  (cd "$top" && git ls-files -coz --exclude-standard -- "${@:2}" | xargs -0 cp -P --parents -t "$1")
}

# step NAME COMMAND...: run it, and say how long it took. A failure is noted in $work/failed and not returned: the other
# steps get their turn, and `set -e` would not hold in a command that is tested.
step() {
  local name=$1 log=$work/logs/$1 start=$SECONDS status
  set +e
  (set -e; "${@:2}") >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ $status -eq 0 ]; then
    printf '%-11s ok     %4d s  %s\n' "$name" $((SECONDS - start)) "$(closing_line "$log" | tr -d =)"
  else
    printf '%-11s FAILED %4d s\n' "$name" $((SECONDS - start))
    touch "$work/failed/$name"
  fi
}

# verdict: show what the steps said that failed, and return whether none did.
verdict() {
  local names name
  names=$(ls "$work/failed")
  for name in $names; do
    printf '\nFAILED: %s\n' "$name"
    sed 's/^/    /' "$work/logs/$name"
  done
  [ -z "$names" ] || echo "FAILED:" $names
  [ -z "$names" ]
}

# closing_line LOG...: the last of the lines with which pytest ends a run.
closing_line() {
  { grep -hE '^=+ .* in [0-9.]+s' "$@" || true; } | tail -n 1
}

# find_python NAME: print the path of python3.13, say: on PATH, or pyenv's.
find_python() {
  local python
  for python in "$1" "$(pyenv prefix "${1#python}" 2>/dev/null)/bin/$1"; do
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      command -v "$python"
      return
    fi
  done
  return 1
}

# build_wheel PYTHON: by way of the source distribution, so that this is seen to be complete.
build_wheel() {
  "$1" -m venv "$work/build"
  "$work/build/bin/python" -m pip install -qq build
  "$work/build/bin/python" -m build --outdir "$work/dist" "$work/clone"
}

# suite NAME COMMAND...: the whole suite against the wheel, in a clean environment of the Python that COMMAND is, in a
# folder that holds everything but the package. The package comes with the extra `test`, or with $extras.
suite() {
  local name=$1 command=("${@:2}") venv=$work/venv-$1
  local python=("${command[@]:0:${#command[@]}-1}" "$venv/bin/python")
  "${command[@]}" -m venv "$venv"
  "${python[@]}" -m pip install -qq "$(echo "$work"/dist/*.whl)[${extras:-test}]"
  cd "$work/away"
  "${python[@]}" -c 'import sys, threadcache as t; sys.exit(not t.__file__.startswith(sys.prefix) and t.__file__)'
  "${limited[@]}" "${python[@]}" -m pytest --junitxml="$work/junit/$name.xml"
}
