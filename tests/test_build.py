"""Building: what THREADCACHE_BUILD makes of a native mailbox that does not build, and what wheels and sdists hold."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WITHOUT = "threadcache will work WITHOUT ITS NATIVE MAILBOX"

pytestmark = pytest.mark.skipif(
    not (ROOT / "src" / "threadcache").is_dir(), reason="there are no sources beside the tests"
)
CPYTHON = sys.implementation.name == "cpython"
BUILDS = not CPYTHON or importlib.util.find_spec("threadcache._native") is not None
NO_COMPILER = "what is installed was not built either"
builds = pytest.mark.skipif(not BUILDS, reason=NO_COMPILER)
on_cpython = pytest.mark.skipif(not CPYTHON, reason="nothing is built but on CPython")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the package is built from, in a copy."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("setup.py", "MANIFEST.in", "pyproject.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(
        ROOT / "src" / "threadcache",
        tree / "src" / "threadcache",
        ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"),
    )
    return tree


@pytest.fixture(params=["compiler", "headers"])
def missing(request: pytest.FixtureRequest, tree: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have something missing that the build needs; what the compiler or the lack of one will say."""
    if request.param == "compiler":
        if sys.platform == "win32":
            pytest.skip("it is not found by way of CC here")
        monkeypatch.setenv("CC", "/nowhere/cc")
        return "/nowhere/cc"
    if not BUILDS:
        pytest.skip(NO_COMPILER)
    for source in (tree / "src" / "threadcache").glob("*.c"):
        source.write_text("#error Python.h is nowhere\n" + source.read_text("utf-8"), encoding="utf-8")
    return "Python.h is nowhere"


def pip(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pip, with setuptools as it is installed here; its output is in ``stdout``, with what the build said."""
    inherited = {name: value for name, value in os.environ.items() if name != "THREADCACHE_BUILD"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", arguments[0], "-v", "--no-deps", "--no-build-isolation", *arguments[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=100,
        check=False,
        env={**inherited, **environment},
    )
    print(done.stdout)
    return done


def build(tree: Path, **environment: str) -> tuple[str, list[str], str]:
    """Build a wheel: its name, the names of the files in it, and what was said."""
    done = pip("wheel", "-w", tree.parent, tree, **environment)
    assert done.returncode == 0
    (wheel,) = tree.parent.glob("*.whl")
    return wheel.name, zipfile.ZipFile(wheel).namelist(), done.stdout


def natives(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("threadcache/_native") and name.endswith((".so", ".pyd"))]


@builds
@pytest.mark.parametrize("choice", ["", "require"])
def test_the_native_mailbox_is_built_on_cpython_alone(tree: Path, choice: str) -> None:
    wheel, names, output = build(tree, THREADCACHE_BUILD=choice)
    assert len(natives(names)) == CPYTHON
    assert wheel.endswith("-py3-none-any.whl") != CPYTHON
    assert WITHOUT not in output


@builds
@on_cpython
@pytest.mark.skipif(sys.platform == "win32", reason="CFLAGS are not for MSVC")
@pytest.mark.parametrize(("flags", "on"), [("", False), ("-UNDEBUG -O1 -g", True)])
def test_assertions_are_on_if_the_flags_say_so(
    tree: Path, monkeypatch: pytest.MonkeyPatch, flags: str, on: bool
) -> None:
    monkeypatch.delenv("CPPFLAGS", raising=False)
    monkeypatch.delenv("CFLAGS", raising=False)
    if flags:
        monkeypatch.setenv("CFLAGS", flags)
    _, names, _ = build(tree)
    (wheel,) = tree.parent.glob("*.whl")
    (native,) = natives(names)
    assert (b"__assert" in zipfile.ZipFile(wheel).read(native)) == on  # the C library's function for one that fails


@on_cpython
def test_what_does_not_build_is_done_without(tree: Path, missing: str) -> None:
    site = tree.parent / "site"
    done = pip("install", "--target", site, tree)
    assert done.returncode == 0
    assert missing in done.stdout and WITHOUT in done.stdout
    code = "import threadcache, threadcache.__main__ as main; print(threadcache.__file__, main.info(), sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    file, *rows = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment).splitlines()
    assert file.startswith(str(site))
    mailbox = next(row for row in rows if row.startswith("mailbox"))
    assert mailbox.endswith("  pure: the native one was not built")


@on_cpython
def test_a_wheel_that_failed_to_be_native_does_not_pass_for_a_pure_one(tree: Path, missing: str) -> None:
    """It would be taken for one that suits every Python, also where the native one could be built."""
    wheel, names, _ = build(tree)
    assert not natives(names)
    assert not wheel.endswith("-none-any.whl")


@on_cpython
def test_where_it_is_required_a_failure_is_an_error(tree: Path, missing: str) -> None:
    done = pip("wheel", "-w", tree.parent, tree, THREADCACHE_BUILD="require")
    assert done.returncode != 0
    assert missing in done.stdout
    assert WITHOUT not in done.stdout
    assert not list(tree.parent.glob("*.whl"))


def test_none_is_built_if_it_is_to_be_skipped(tree: Path, missing: str) -> None:
    wheel, names, output = build(tree, THREADCACHE_BUILD="skip")
    assert not natives(names)
    assert wheel.endswith("-py3-none-any.whl")
    assert missing not in output and WITHOUT not in output


def test_another_choice_is_an_error_that_names_them_all(tree: Path) -> None:
    done = pip("wheel", "-w", tree.parent, tree, THREADCACHE_BUILD="no")
    assert done.returncode != 0
    assert "THREADCACHE_BUILD is 'no'" in done.stdout
    assert all(choice in done.stdout for choice in ("'require'", "'skip'", "unset"))


def test_wheels_hold_types_and_no_c(tree: Path) -> None:
    _, names, _ = build(tree)
    stubs = {f"threadcache/{path.name}" for path in tree.joinpath("src", "threadcache").glob("*.pyi")}
    assert {"threadcache/py.typed", *stubs} <= set(names)
    assert not [name for name in names if name.endswith((".c", ".h"))]


def test_sdists_hold_all_that_a_build_needs(tree: Path) -> None:
    """Also where none is built, as with ``skip``: others will build from them."""
    code = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tree.parent)]
    subprocess.run(command, cwd=tree, capture_output=True, check=True, env={**os.environ, "THREADCACHE_BUILD": "skip"})
    (sdist,) = tree.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = [path for path in tree.joinpath("src", "threadcache").iterdir() if path.is_file()]
    assert {"setup.py", "MANIFEST.in", *(path.relative_to(tree).as_posix() for path in sources)} <= names
