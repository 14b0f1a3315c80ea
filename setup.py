"""Builds the native mailbox, `threadcache._native`; everything else about the package is in pyproject.toml.

``THREADCACHE_BUILD`` says what becomes of a build that fails: by default the package does without the native mailbox,
with ``require`` that is an error, and with ``skip`` none is built in the first place.
"""

from __future__ import annotations

import os
import platform
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CHOICE = os.environ.get("THREADCACHE_BUILD", "")
if CHOICE not in {"", "require", "skip"}:
    sys.exit(
        f"THREADCACHE_BUILD is {CHOICE!r}, and can be 'require' (it is an error if the native mailbox does not build), "
        "'skip' (none is built), or unset (if it does not build, the package does without it)"
    )

WITHOUT = """the native mailbox was NOT BUILT, for the reason that the compiler and setuptools give here.
***
*** threadcache will work WITHOUT ITS NATIVE MAILBOX: it keeps every promise, and is slower.
*** To have it, install a C11 compiler and Python's headers, and then threadcache anew (with pip's options
*** --force-reinstall --no-cache-dir, for pip keeps what it has built).
*** With THREADCACHE_BUILD=require this is an error, with THREADCACHE_BUILD=skip it is not tried.
***"""


class BuildMailbox(build_ext):
    """Builds with what the compiler at hand needs, and says what a failure means."""

    def build_extension(self, ext: Extension) -> None:
        """Build one extension module; setuptools carries on after a failure if it is optional."""
        if self.compiler.compiler_type == "msvc":  # whose C11 has atomics since Visual Studio 2022 17.5
            ext.extra_compile_args = ["/std:c11", "/experimental:c11atomics"]
        try:
            super().build_extension(ext)
        except Exception:
            if ext.optional:
                self.warn(WITHOUT)
            raise


native = Extension(
    "threadcache._native",
    sorted(glob("src/threadcache/*.c")),
    depends=sorted(glob("src/threadcache/*.h")),
    # Of their own until glibc 2.34, and empty since then; musl has them empty, and others do not need them.
    libraries=["dl", "pthread"] if sys.platform == "linux" else [],
    optional=CHOICE != "require",
)
# It knows CPython's GIL and what CPython does with its threads; the pure mailbox is the one for all others.
wanted = CHOICE != "skip" and platform.python_implementation() == "CPython"
setup(ext_modules=[native] if wanted else [], cmdclass={"build_ext": BuildMailbox})
