"""The source code that a result depends on, found by following imports from module to module."""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import CodeType

PACKAGE = Path(__file__).parent
TEXTS = ("qsmxt_app.report", "qsmxt_app.settings")
"""Packages that no result depends on: words, pictures, and settings, whose values are inputs of steps."""


class SourceGraph:
    """Which modules of a package import which, lazy imports within functions included.

    Modules are compiled, never imported, so that nothing heavy is loaded. The compiler leaves comments,
    docstrings and line breaks out, hence a reworded sentence changes no digest.

    Parameters
    ----------
    package
        Folder of the package.
    left_out
        Full names of modules and packages that are not followed.

    Attributes
    ----------
    files
        The file of each module and package by its full name.
    """

    def __init__(self, package: Path, left_out: Iterable[str] = ()) -> None:
        self.name = package.name
        found = {_module_name(path, package.parent): path for path in sorted(package.rglob("*.py"))}
        left = tuple(f"{name}." for name in left_out)
        self.files = {name: path for name, path in found.items() if not f"{name}.".startswith(left)}
        self._compiled: dict[Path, tuple[bytes, frozenset[str]]] = {}

    def imports(self, file: Path) -> frozenset[str]:
        """Return the modules of the package that a file imports itself."""
        return self._compile(file)[1]

    def reached(self, file: Path, but: Collection[str] = ()) -> frozenset[str]:
        """Return the modules of the package that a file imports at any remove, not by way of some."""
        waiting, found = [file], set[str]()
        while waiting:
            new = self.imports(waiting.pop()) - found - set(but)
            found |= new
            waiting += [self.files[name] for name in new]
        return frozenset(found)

    def digest(self, file: Path, but: Collection[str] = ()) -> str:
        """Return a digest of a file and of all modules that it reaches, not by way of some."""
        state = hashlib.sha256(self._compile(file)[0])
        for name in sorted(self.reached(file, but)):
            state.update(self._compile(self.files[name])[0])
        return state.hexdigest()

    def _compile(self, file: Path) -> tuple[bytes, frozenset[str]]:
        """Digest of a file alone, and what it imports."""
        if file not in self._compiled:
            code = compile(file.read_bytes(), str(file), "exec", optimize=2, dont_inherit=True)
            parts = list(_nested(code))
            content = b"\n".join(_described(part) for part in parts)
            self._compiled[file] = hashlib.sha256(content).digest(), self._imported(parts)
        return self._compiled[file]

    def _imported(self, parts: Iterable[CodeType]) -> frozenset[str]:
        found = set[str]()
        for part in parts:
            # imports are absolute: names with a dot are those of modules
            origins = self.files.keys() & part.co_names
            if any(f"{origin}.{name}" in self.files for origin in origins for name in part.co_names):
                origins = {
                    module for origin, names in _imports(part) for module in self._meant(origin, names)
                }
            found |= origins
            # a registry gives the full name of a module, which is imported when it is needed
            found.update(text for text in _texts(part.co_consts) if self._is_module(text))
        return frozenset(found & self.files.keys())

    def _meant(self, origin: str, names: Sequence[str]) -> set[str]:
        """Return the modules that `from origin import names` needs: the package only for what it holds."""
        modules = {f"{origin}.{name}" for name in names} & self.files.keys()
        return modules if names and len(modules) == len(set(names)) else modules | {origin}

    def _is_module(self, name: str) -> bool:
        return name in self.files and self.files[name].name != "__init__.py"


@cache
def package_graph() -> SourceGraph:
    """Return the graph of this package without its reports and texts, made once a process."""
    return SourceGraph(PACKAGE, TEXTS)


def _module_name(file: Path, above: Path) -> str:
    return ".".join(file.relative_to(above).with_suffix("").parts).removesuffix(".__init__")


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _imports(code: CodeType) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield what each import of a piece of code names, and what it takes from there."""
    names: Sequence[str] = ()
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_CONST":  # the last one before an import holds the names
            names = instruction.argval or ()
        elif instruction.opname == "IMPORT_NAME":
            yield instruction.argval, names


def _texts(constants: Iterable[object]) -> Iterator[str]:
    """Yield the texts among constants; the compiler makes one constant of a tuple or set of them."""
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, (tuple, frozenset)):
            yield from _texts(constant)


def _described(code: CodeType) -> bytes:
    """Describe what a piece of code does, wherever it stands in its file."""
    # Python 3.13 stores the line of a class among its constants
    line = code.co_firstlineno if "__firstlineno__" in code.co_names else None
    constants = [_constant(constant) for constant in code.co_consts if constant != line]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    counts = code.co_flags, code.co_argcount, code.co_kwonlyargcount
    return repr((code.co_name, counts, names, constants, code.co_code, code.co_exceptiontable)).encode()


def _constant(value: object) -> object:
    """Describe a constant; the order of a set differs from process to process."""
    if isinstance(value, CodeType):  # described by itself
        return None
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value
