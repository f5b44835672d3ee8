"""Where the embedded servers live: their sockets, and a place that PostgreSQL may enter.

PostgreSQL refuses to run as root, so root runs it as another user. That user may be unable to enter
the data directory or the environment with the binaries (a checkout in a closed home directory).
Nobody's folders are opened for it: data and binaries get a place of their own instead.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from dev.errors import DevError
from dev.processes import Account

_SERVER_USER = "points-mall"
_LONGEST_SOCKET_BYTES = 100  # the kernels allow 104 to 108
_LONGEST_SOCKET_NAME = "/.s.PGSQL.5432"
_OPEN_PLACES = Path("/var/tmp")


class PlaceError(DevError):
    """The embedded servers have no place to run in."""


class PlaceTakenError(PlaceError):
    """A directory that should be ours exists and belongs to someone else."""

    def __init__(self, path: Path, owner_id: int) -> None:
        super().__init__(f"{path} belongs to user {owner_id} or is no directory: remove it")
        self.path = path
        self.owner_id = owner_id


class NoSocketDirectoryError(PlaceError):
    """No temporary directory has a path short and plain enough for a socket."""

    def __init__(self, tried: list[Path]) -> None:
        names = ", ".join(str(path) for path in tried)
        super().__init__(f"no directory for sockets: {names} are too long, odd or closed")
        self.tried = tried


class DataUnreachableError(PlaceError):
    """PostgreSQL's data is where the user that must run it cannot enter."""

    def __init__(self, path: Path, user: str) -> None:
        super().__init__(f"user {user}, who runs PostgreSQL for root, cannot enter {path}")
        self.path = path
        self.user = user


def server_account(data: Path) -> Account | None:
    """Tell as whom to run PostgreSQL on this data: None for the present user, another one for root.

    Data that belongs to a user stays that user's; new data is the system user's, who is created.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return _owner(data)
    return _named(_SERVER_USER) or _created(_SERVER_USER) or _named("nobody")


def _owner(path: Path) -> Account:
    status = path.stat()
    try:
        name = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        name = f"#{status.st_uid}"  # of another machine or container
    return Account(name, status.st_uid, status.st_gid)


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid)


def _created(name: str) -> Account | None:
    if shutil.which("useradd") is None:
        return None
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    with Path("/etc/passwd").open("rb") as users:
        # Two useradd at the same time may create the user twice, with different ids.
        fcntl.flock(users, fcntl.LOCK_EX)
        if _named(name) is None:
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.returncode != 0:
                print(f"no user {name} for PostgreSQL: {answer.stderr.strip()}", file=sys.stderr)
    return _named(name)


def can_run(account: Account | None, argv: list[str | Path]) -> bool:
    """Tell whether the command succeeds when the account runs it."""
    ids = (account.user_id, account.group_id) if account else (None, None)
    try:
        return (
            subprocess.run(
                argv,
                user=ids[0],
                group=ids[1],
                extra_groups=[] if account else None,
                cwd="/",
                capture_output=True,
                check=False,
            ).returncode
            == 0
        )
    except PermissionError:  # the program itself is out of reach
        return False


def can_enter(account: Account | None, directory: Path) -> bool:
    """Tell whether the account can reach what is in the directory, by asking as the account."""
    return can_run(account, ["test", "-x", directory])


def place_name(data_dir: Path) -> str:
    """Name what belongs to this data directory, short whatever the path is."""
    digest = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()
    return f"points-mall-{digest[:12]}"


def recorded_sockets(data_dir: Path) -> Path | None:
    """Return the socket directory of the servers last started here, None when there is none."""
    link = data_dir / "sockets"
    if not link.is_symlink() or not link.is_dir():
        return None
    # A copied data directory brings along the link to the sockets of the one it was copied from.
    target = link.readlink()
    return target if target.name.startswith(place_name(data_dir) + "-") else None


def make_sockets(data_dir: Path) -> Path:
    """Create the private directory for the sockets and the link to it in the data directory.

    Raises NoSocketDirectoryError or PlaceTakenError.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    account = server_account(data_dir / "postgres")  # Valkey runs as we do and may enter anyway
    name = f"{place_name(data_dir)}-{os.geteuid()}"
    directory = _socket_base(name, account) / name
    own_directory(directory, account)
    link = data_dir / "sockets"
    if not link.is_symlink() or link.readlink() != directory:
        link.unlink(missing_ok=True)
        link.symlink_to(directory)
    return directory


def remove_sockets(data_dir: Path) -> None:
    """Remove the socket directory and the link to it; the servers must have stopped."""
    directory = recorded_sockets(data_dir)
    if directory is not None:
        shutil.rmtree(directory)
        (data_dir / "sockets").unlink()


def _socket_base(name: str, account: Account | None) -> Path:
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    for base in candidates:
        path = os.fsencode(base / name) + _LONGEST_SOCKET_NAME.encode()
        # A comma or a space in the path would have to be quoted in five different ways.
        is_plain = not set(str(base)) & set(", \t\n\"'%+&#?\\")
        if is_plain and len(path) < _LONGEST_SOCKET_BYTES and can_enter(account, base):
            return base
    raise NoSocketDirectoryError(candidates)


def own_directory(path: Path, account: Account | None, mode: int = 0o700) -> None:
    """Create a directory for the account, or make sure that the existing one is ours.

    Raises PlaceTakenError when it is not.
    """
    path.mkdir(mode=mode, exist_ok=True)
    status = path.lstat()
    ours = {os.geteuid(), account.user_id} if account else {os.geteuid()}
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in ours:
        raise PlaceTakenError(path, status.st_uid)
    if account:
        os.chown(path, account.user_id, account.group_id)
    path.chmod(mode)


def data_place(data_dir: Path, account: Account | None) -> Path:
    """Return the directory for PostgreSQL's data: in the data directory, or behind a link there.

    Raises DataUnreachableError when data exists that the account cannot enter.
    """
    local = data_dir / "postgres"
    elsewhere = _OPEN_PLACES / place_name(data_dir) / "postgres"
    if not local.is_symlink():
        if account is None or can_enter(account, data_dir):
            return local
        if local.exists():
            raise DataUnreachableError(local, account.name)
        _say_elsewhere(account, data_dir, elsewhere)
        _start_elsewhere(local, elsewhere)
    elif local.readlink() == elsewhere:
        own_directory(elsewhere.parent, None, 0o755)  # cleaners of old files may have come by
    return local.resolve()


def _start_elsewhere(local: Path, elsewhere: Path) -> None:
    own_directory(elsewhere.parent, None, 0o755)
    if elsewhere.exists():
        # The link to it is gone: whoever removed the data directory meant this data, too.
        shutil.rmtree(elsewhere)
    local.symlink_to(elsewhere)


def reachable_install(data_dir: Path, install: Path, version: str, account: Account | None) -> Path:
    """Return the installation if the account can run it, else a copy that it can run.

    ``install`` is the wheel's folder with ``bin``; the libraries are expected beside its package.
    """
    if account is None or can_run(account, [install / "bin" / "initdb", "--version"]):
        return install
    place = _OPEN_PLACES / place_name(data_dir)
    own_directory(place, None, 0o755)
    copy = place / f"install-{version}"
    if not copy.exists():
        _say_elsewhere(account, install, copy)
        _copy_install(install, copy)
    return copy / install.parent.name / install.name


def _copy_install(install: Path, copy: Path) -> None:
    """Copy binaries and libraries as they lie to each other, for they find each other by that."""
    package = install.parent
    libraries = package.with_name(f"{package.name}.libs")
    partial = copy.with_name(f"{copy.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(install, partial / package.name / install.name, symlinks=True)
    if libraries.exists():  # macOS wheels keep them elsewhere
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
    for path in (partial, *partial.rglob("*")):
        _let_all_read(path)
    partial.rename(copy)


def _let_all_read(path: Path) -> None:
    if not path.is_symlink():
        owner = path.stat().st_mode & 0o500
        path.chmod(path.stat().st_mode | owner >> 3 | owner >> 6)


def _say_elsewhere(account: Account, closed: Path, place: Path) -> None:
    print(
        f"user {account.name}, who runs it, cannot enter {closed}: using {place}", file=sys.stderr
    )
