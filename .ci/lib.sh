# What the scripts beside it share. The checkout is only read: everything is made in $work, which goes away at exit.
set -euo pipefail
export THREADCACHE_BUILD=require # a package that turns out pure would pass most of the suite
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

# command_for NAME: print the words of a command that is that Python, which may also be found by way of $tools.
command_for() {
  if find_python "$1"; then :
  elif [ "$1" = python3.13t ] && [ -x "$tools/free-threaded-python" ]; then "$tools/free-threaded-python"
  elif [ -x "$tools/sid" ] && "$tools/sid" sh -c "command -v $1" >/dev/null; then echo "$tools/sid $1"
  else return 1
  fi
}

# on_each FUNCTION PYTHON...: a step for each Python, FUNCTION with its name and the words of its command.
on_each() {
  local name words command
  for name in "${@:2}"; do
    if words=$(command_for "$name"); then
      read -ra command <<<"$words"
      step "$name" "$1" "$name" "${command[@]}"
    else
      printf '%-11s NOT TESTED, for it is not here\n' "$name"
    fi
  done
}

# build_sdist PYTHON: what each Python builds its wheel from, so that it is seen to be complete.
build_sdist() {
  "$1" -m venv "$work/build"
  "$work/build/bin/python" -m pip install -qq build
  "$work/build/bin/python" -m build --sdist --outdir "$work/dist" "$work/clone"
}

# install VENV COMMAND...: make a clean environment of the Python that COMMAND is, with a wheel that it has built, left
# in VENV/wheel, and with the package's extra `test`, or $extras. $python becomes the command for the one in VENV.
install() {
  local command=("${@:2}")
  python=("${command[@]:0:${#command[@]}-1}" "$1/bin/python")
  "${command[@]}" -m venv "$1"
  # In CPPFLAGS, which come after the flags that the interpreter was built with; CFLAGS would replace those.
  CPPFLAGS="-Wall -Wextra -Werror ${cppflags:-}" \
    "${python[@]}" -m pip wheel -v --no-cache-dir --no-deps --wheel-dir "$1/wheel" "$work"/dist/*.tar.gz
  "${python[@]}" -m pip install -qq "$(echo "$1"/wheel/*.whl)[${extras:-test}]"
  "${python[@]}" -m threadcache info
}

# run_tests NAME ARGUMENT...: pytest with $python and what it has installed, in a folder with everything but the package.
run_tests() {
  cd "$work/away"
  "${python[@]}" -c 'import sys, threadcache as t; sys.exit(not t.__file__.startswith(sys.prefix) and t.__file__)'
  "${limited[@]}" "${python[@]}" -m pytest --junitxml="$work/junit/$1.xml" "${@:2}"
}

# suite NAME COMMAND...: the whole suite, in a clean environment of the Python that COMMAND is.
suite() {
  install "$work/venv-$1" "${@:2}"
  run_tests "$1"
}
