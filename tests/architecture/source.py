"""The source as the architecture tests see it: files, and which imports which."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
STREETS = (
    "schema",
    "resolvers",
    "services",
    "models",
    "settings",
    "jobs",
    "dev",
    "commands",
    "benchmarks",
)
HOUSES = ("app", "routes", "cli")


@dataclass(frozen=True)
class Module:
    """One file of the source."""

    name: str
    path: Path

    @property
    def street(self) -> str:
        """The package, or the module at the root, that it belongs to."""
        return self.name.partition(".")[0]

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.path.read_text())


@cache
def modules() -> dict[str, Module]:
    """Every module of the source by its name."""
    paths = [ROOT / f"{house}.py" for house in HOUSES]
    paths += [path for street in STREETS for path in sorted((ROOT / street).rglob("*.py"))]
    found = [Module(_name(path), path) for path in paths]
    return {module.name: module for module in found}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of the source that a module imports."""
    found: set[str] = set()
    for node in ast.walk(modules()[name].tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {_target(node.module, alias.name) for alias in node.names}
    return frozenset(found & modules().keys() - {name})


def _target(module: str, name: str) -> str:
    return f"{module}.{name}" if f"{module}.{name}" in modules() else module
