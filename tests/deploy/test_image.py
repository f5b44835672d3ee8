"""The image, as far as that can be told without building it."""

import ast
import json
import re
import subprocess
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.source import imports, modules
from tests.deploy.shipped import ROOT, instructions, last_stage

_LOCKED = {
    re.sub(r"[-_.]+", "-", name).lower()
    for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", (ROOT / "requirements.lock").read_text())
}
_COMMAND_LINE = "cli"


def _copied() -> list[str]:
    """What is copied from the checkout, without what the last stage takes from the one before."""
    copies = [rest for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    return [source.rstrip("/") for rest in copies for source in rest.split()[:-1]]


def _reached() -> set[str]:
    """Every module that the commands can reach, and what uvicorn imports by name."""
    found, waiting = set[str](), {_COMMAND_LINE, "commands.web_process"}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= imports(name) - found
    return found


def _outside(path: Path) -> set[str]:
    """The top-level names that a file imports."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_every_module_that_runs_is_copied() -> None:
    """Whatever a command imports is in the image."""
    paths = {modules()[name].path.relative_to(ROOT).parts[0] for name in _reached()}
    assert paths <= set(_copied())


def test_nothing_else_is_copied() -> None:
    """Tests, benchmarks and documents stay outside, and of the build's context too."""
    lets_through = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lets_through if line.startswith("!")} == set(_copied())
    assert "*" in lets_through
    assert not {"tests", "benchmarks", "deploy"} & set(_copied())


def test_only_what_is_locked_is_imported() -> None:
    """No command needs what only developers install."""
    files = [modules()[name].path for name in _reached()]
    files += sorted((ROOT / "alembic").rglob("*.py"))
    providers = packages_distributions()
    for path in files:
        for name in _outside(path):
            missing = {re.sub(r"[-_.]+", "-", one).lower() for one in providers.get(name, ())}
            assert not missing or missing & _LOCKED, f"{path.name} imports {name}"


def test_it_runs_as_nobody() -> None:
    """By number, so that the platform can tell; and by no name that has a shell."""
    users = [rest for word, rest in last_stage() if word == "USER"]
    assert users == ["10001:10001"]


@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD"])
def test_signals_reach_it(word: str) -> None:
    """Through no shell."""
    [command] = [rest for found, rest in last_stage() if found == word]
    assert isinstance(json.loads(command), list)


def test_its_health_check_is_a_program() -> None:
    """Of Python, which is there, by the probe that needs no store."""
    [check] = [rest for word, rest in last_stage() if word == "HEALTHCHECK"]
    command = json.loads(check.partition(" CMD ")[2])
    assert command[:2] == ["python", "-c"]
    assert "/livez" in command[2]
    ast.parse(command[2])


def _removal() -> str:
    [removal] = [rest for word, rest in last_stage() if word == "RUN" and rest.startswith("rm ")]
    return removal


def test_it_can_install_nothing(tmp_path: Path) -> None:
    """Of the base image's installers nothing is left, of its Python everything."""
    kept = {"bin/python3.11", "lib/python3.11/os.py", "lib/python3.11/site.py"}
    gone = {
        "bin/pip",
        "bin/pip3.11",
        "lib/python3.11/ensurepip/_bundled/pip.whl",
        "lib/python3.11/site-packages/pip/__main__.py",
        "lib/python3.11/site-packages/setuptools/__init__.py",
    }
    for name in kept | gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    command = _removal().replace("/usr/local", str(tmp_path))
    subprocess.run(["/bin/sh", "-c", command], check=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == kept


def test_the_last_stage_builds_nothing() -> None:
    """It takes what was built: no package manager, no network."""
    ran = [rest for word, rest in last_stage() if word == "RUN" and rest != _removal()]
    done = " ".join(ran)
    assert not re.search(r"\b(pip|apt-get|apt|curl|wget|gcc)\b", done)


def test_what_is_installed_was_locked() -> None:
    """By hash, and as wheels: no package's own code runs while building."""
    [install] = [rest for word, rest in instructions() if word == "RUN" and " install" in rest]
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:"):
        assert option in install


def test_base_images_are_pinned() -> None:
    """By a tag that names the version and the distribution."""
    [image] = [rest for word, rest in instructions() if word == "ARG"]
    assert re.fullmatch(r"PYTHON_IMAGE=python:\d+\.\d+-slim-[a-z]+", image)
