"""Names that say something, functions and files that can be read at one sitting."""

import ast
from statistics import median

import pytest

from models import Base
from tests.architecture.source import ROOT, modules

MEANINGLESS = {"utils", "util", "helpers", "helper", "common", "misc"}
LONGEST_FUNCTION, LONGEST_FILE = 60, 300


def _functions(name: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = modules()[name].tree
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


@pytest.mark.parametrize("name", sorted(modules()))
def test_names_say_something(name: str) -> None:
    """Nothing is called utils."""
    assert not MEANINGLESS & set(name.split("."))


@pytest.mark.parametrize("name", sorted(modules()))
def test_files_and_functions_are_short(name: str) -> None:
    """No file over 300 lines, no function over 60."""
    assert len(modules()[name].path.read_text().splitlines()) <= LONGEST_FILE
    assert not [f.name for f in _functions(name) if _lines(f) > LONGEST_FUNCTION]


def test_the_usual_function_is_about_ten_lines() -> None:
    """The median over the whole source."""
    assert median(_lines(f) for name in modules() for f in _functions(name)) <= 10


@pytest.mark.parametrize("name", sorted(modules()))
def test_what_is_public_says_what_it_is(name: str) -> None:
    """Every module, class and function that is not private has a docstring."""
    tree = modules()[name].tree
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [n for n in tree.body if isinstance(n, documented) and not n.name.startswith("_")]
    assert ast.get_docstring(tree), name
    assert [n.name for n in public if not ast.get_docstring(n)] == []


def test_no_relation_loads_by_itself() -> None:
    """There is no hidden SQL: a relation must say lazy="raise"."""
    for mapper in Base.registry.mappers:
        for relation in mapper.relationships:
            assert relation.lazy == "raise", relation


def test_alembic_is_no_package() -> None:
    """A package of that name would shadow the library."""
    assert not (ROOT / "alembic" / "__init__.py").exists()
