"""``python -m threadcache run``: an unmodified program, on the cache.

The program runs in this process, as ``__main__``, with what plain Python would have given it: `sys.argv`, `sys.path`,
the attributes of its module, and at the end its exit status and traceback. Its uncaught exceptions leave through this
module as they would have left through the interpreter's own; only the frames of this package are not shown.
"""

from __future__ import annotations

import atexit
import importlib.util
import io
import linecache
import os
import pkgutil
import sys
from contextlib import suppress
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import CodeType, FrameType

__all__ = ["run"]

_DIRECTORY = os.path.dirname(__file__)


class CannotRunError(Exception):
    """There is no such program; the arguments are what to say, and the exit status."""


def run(kind: str, program: str, arguments: list[str], *, report: bool = False, trace: int | None = None) -> None:
    """Install everything, and run a program as ``__main__``.

    Args:
        kind: "-m" if ``program`` is the name of a module, "-c" if it is code, "" if it is the path of a script, of a
            directory or of a zip file with a ``__main__``, or "-" for standard input.
        program: Which program.
        arguments: Its arguments.
        report: Whether to say at the end on stderr what became of its threads.
        trace: A file descriptor to write a trace of its jobs to.

    Raises:
        BaseException: What the program raised.
    """
    if trace is not None or report:
        _watch(report, trace)
    else:
        from ._install import install

        for name, state in install().report().items():
            if state.startswith("refused"):
                print(f"threadcache: {name} {state}", file=sys.stderr)
    try:
        code, attributes = _LOAD[kind](program, arguments)
    except CannotRunError as error:
        print(error.args[0], file=sys.stderr)
        sys.exit(error.args[1])
    except BaseException:
        _show_as_plain_python(None, with_runpy=False)
        raise
    main = ModuleType("__main__")
    vars(main).update(attributes, __builtins__=sys.modules["builtins"])
    sys.modules["__main__"] = main
    try:
        exec(code, vars(main))
    except SystemExit:
        raise
    except BaseException:
        _show_as_plain_python(code, with_runpy=attributes["__spec__"] is not None)
        raise


def _watch(report: bool, trace: int | None) -> None:
    """Install everything with somebody watching, who speaks at the end."""

    def finish() -> None:
        if watcher.finish() and report:
            stderr = sys.__stderr__  # whatever the program has made of the other one
            if stderr is not None:
                with suppress(OSError, ValueError):  # it may be closed by now
                    print(report_of(watcher, installation), file=stderr, flush=True)

    # Callbacks run in the reverse order of their registration: this one must come after the one of the executors, which
    # waits for their jobs, and which is registered by the import.
    atexit.register(finish)

    from ._install import install
    from ._report import report as report_of
    from ._watch import Watcher

    watcher = Watcher(trace)
    installation = install(_borrowing=watcher.borrowing())


def _compiled(source: str | bytes, name: str) -> CodeType:
    code: CodeType = compile(source, name, "exec", dont_inherit=True)  # this module's annotations are its own matter
    return code


def _script(path: str, arguments: list[str]) -> tuple[CodeType, dict[str, Any]]:
    sys.argv = [path, *arguments]
    if path == "-":
        _set_path("")
        return _compiled(sys.stdin.read(), "<stdin>"), _attributes("<stdin>", BuiltinImporter)
    path = os.path.join(os.getcwd(), path)
    importer: Any = pkgutil.get_importer(path)
    if importer is not None:  # a directory, or a zip file
        if sys.flags.safe_path:  # which is about the folders of scripts, and the working directory
            sys.path.insert(0, path)
        else:
            sys.path[0] = path
        spec: ModuleSpec | None = importer.find_spec("__main__")
        if spec is None:
            raise CannotRunError(f"{sys.executable}: can't find '__main__' module in {path!r}", 1)
        return _code(spec), _attributes(spec.origin, spec.loader, spec)
    _set_path(os.path.dirname(os.path.realpath(path)))
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        says = f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}"
        raise CannotRunError(says, 2) from None
    code: CodeType | None = pkgutil.read_code(io.BytesIO(source))
    if code is not None:
        return code, _attributes(path, SourcelessFileLoader("__main__", path))
    return _compiled(source, path), _attributes(path, SourceFileLoader("__main__", path))


def _module(name: str, arguments: list[str]) -> tuple[CodeType, dict[str, Any]]:
    sys.argv = ["-m", *arguments]
    spec = _find(name)
    if spec is not None and spec.submodule_search_locations is not None:
        package, name = name, f"{name}.__main__"
        spec = _find(name)
        if spec is None:
            why = f"No module named {name}; {package!r} is a package and cannot be directly executed"
            raise CannotRunError(f"{sys.executable}: {why}", 1)
    if spec is None:
        raise CannotRunError(f"{sys.executable}: No module named {name}", 1)
    code = _code(spec)
    sys.argv[0] = str(spec.origin)
    return code, _attributes(spec.origin, spec.loader, spec)


def _find(name: str) -> ModuleSpec | None:
    if name.startswith("."):
        raise CannotRunError(f"{sys.executable}: Relative module names not supported", 1)
    package = name.rpartition(".")[0]
    if package:
        try:
            importlib.import_module(package)
        except ImportError as error:
            if error.name is None or not f"{package}.".startswith(f"{error.name}."):
                raise  # it is something else that is missing, and the traceback says where
    try:
        return importlib.util.find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        says = f"Error while finding module specification for {name!r} ({type(error).__name__}: {error})"
        if name.endswith(".py"):
            says += f". Try using {name[:-3]!r} instead of {name!r} as the module name."
        raise CannotRunError(f"{sys.executable}: {says}", 1) from None


def _code(spec: ModuleSpec) -> CodeType:
    get_code: Callable[[str], CodeType | None] | None = getattr(spec.loader, "get_code", None)
    code = None if get_code is None else get_code(spec.name)
    if code is None:
        raise CannotRunError(f"{sys.executable}: No code object available for {spec.name}", 1)
    return code


def _command(source: str, arguments: list[str]) -> tuple[CodeType, dict[str, Any]]:
    sys.argv = ["-c", *arguments]
    _set_path("")
    if sys.version_info >= (3, 13):
        # From there on tracebacks show the lines of a command.
        linecache.cache["<string>"] = len(source), None, source.splitlines(keepends=True), "<string>"
    return _compiled(source, "<string>"), _attributes(None, BuiltinImporter)


_LOAD: dict[str, Callable[[str, list[str]], tuple[CodeType, dict[str, Any]]]] = {
    "": _script,
    "-m": _module,
    "-c": _command,
}


def _attributes(file: str | None, loader: Any, spec: ModuleSpec | None = None) -> dict[str, Any]:
    attributes: dict[str, Any] = {"__loader__": loader, "__spec__": spec}
    if sys.version_info < (3, 14):
        attributes["__annotations__"] = {}
    if spec is not None:
        attributes["__package__"] = spec.parent
    if file is not None:
        attributes["__file__"] = file
        if sys.version_info < (3, 15):
            attributes["__cached__"] = None if spec is None else spec.cached
    return attributes


def _set_path(first: str) -> None:
    """Have `sys.path` begin with a directory, as it does if Python is told to run a program from there."""
    if not sys.flags.safe_path:
        sys.path[0] = first


def _show_as_plain_python(code: CodeType | None, with_runpy: bool) -> None:
    """Have the exception that is on its way shown without the frames that are not there when Python runs ``code``.

    Those are the ones of this package, below `runpy`'s, which has run it, and would have run the program's module
    itself. None: there is no code yet.
    """
    show = getattr(sys, "excepthook", sys.__excepthook__)

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        sys.excepthook = show
        above = []
        while traceback is not None and _is_above(traceback.tb_frame, code):
            if with_runpy and traceback.tb_frame.f_globals.get("__name__") == "runpy":
                above.append(traceback)
            traceback = traceback.tb_next
        for one in reversed(above):
            traceback = TracebackType(traceback, one.tb_frame, one.tb_lasti, one.tb_lineno)
        show(kind, BaseException.with_traceback(error, traceback), traceback)

    sys.excepthook = hook


def _is_above(frame: FrameType, code: CodeType | None) -> bool:
    if code is not None:
        return frame.f_code is not code
    return frame.f_globals.get("__name__") == "runpy" or os.path.dirname(frame.f_code.co_filename) == _DIRECTORY
