"""Imports run one way: cli, app, resolvers and jobs, schema, services, models, settings."""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture.source import imports, modules

ALLOWED = {
    "settings": set[str](),
    "models": {"settings"},
    "services": {"models", "settings"},
    "schema": {"services", "models", "settings"},
    "resolvers": {"schema", "services", "models", "settings"},
    "jobs": {"services", "models", "settings"},
    "routes": {"services", "models", "settings"},
    "dev": {"services", "models", "settings"},
    "app": {"routes", "resolvers", "schema", "services", "models", "settings"},
    "commands": {"app", "dev", "jobs", "resolvers", "services", "models", "settings"},
    "cli": {"app", "commands", "dev", "jobs", "resolvers", "services", "models", "settings"},
    "benchmarks": {"app", "dev", "schema", "services", "models", "settings"},
}
"""Which street may look into which others."""


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_run_one_way(name: str) -> None:
    """No arrow points up, or into a street it has no business in."""
    street = modules()[name].street
    reached = {modules()[other].street for other in imports(name)} - {street}
    assert reached <= ALLOWED[street], f"{name} imports {sorted(reached - ALLOWED[street])}"


def test_there_is_no_circle() -> None:
    """Not even within a street."""
    graph = {name: imports(name) for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_import_hides_in_a_function(name: str) -> None:
    """Where an import stands inside of a function, somebody went around a circle."""
    for node in ast.walk(modules()[name].tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"{name}.{node.name}"


_A_SESSIONS_TYPE = "from sqlalchemy.ext.asyncio import AsyncSession"


def test_schema_and_resolvers_write_no_sql() -> None:
    """Nested fields only await a loader, root fields only call one operation."""
    for name, module in modules().items():
        if module.street in {"schema", "resolvers"}:
            lines = module.path.read_text().splitlines()
            found = [line for line in lines if "sqlalchemy" in line and line != _A_SESSIONS_TYPE]
            assert found == [], name
