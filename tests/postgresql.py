"""A real PostgreSQL for the tests, from Debian's package, on a socket of its own."""

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine

from tests.waiting import HANG_SECONDS, at_the_first_retry, until


def programs() -> Path | None:
    """Return the folder of the newest server that is installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    return found[0].parent if found else None


def as_user() -> list[str]:
    """Return the command prefix that starts a server as another user; servers refuse to run as root."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []


class Server:
    def __init__(self, folder: Path, control: list[str | Path], options: str) -> None:
        self.folder = folder
        self._control = control
        self._options = options
        self._admin = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    @contextmanager
    def pgbouncer(self) -> Iterator[Callable[[str], str]]:
        """Run PgBouncer in transaction mode; yield a function that routes a URL through it.

        Without PgBouncer, the test is skipped with a warning.
        """
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            warnings.warn("PgBouncer is not installed: its tests are SKIPPED", stacklevel=2)
            pytest.skip("PgBouncer is not installed (apt-get install pgbouncer)")
        config = self.folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host={self.folder} user=postgres\n[pgbouncer]\nlisten_port = 6432\n"
            f"unix_socket_dir = {self.folder}\nauth_type = any\npool_mode = transaction\n"
            "default_pool_size = 4\n"
        )
        log = (self.folder / "pgbouncer.log").open("w")
        process = subprocess.Popen([*as_user(), program, config], stdout=log, stderr=log, cwd="/")
        try:
            listens = self.folder / ".s.PGSQL.6432"
            until(lambda: listens.exists() or process.poll() is not None)
            assert process.poll() is None, (self.folder / "pgbouncer.log").read_text()
            yield lambda url: f"{url}&port=6432"
        finally:
            process.terminate()
            process.wait(HANG_SECONDS)
            log.close()

    def new_database(self) -> str:
        """Create an empty database; return its URL."""
        name = f"test_{uuid4().hex}"
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
        return self._url(name)

    def end_connections(self, url: str) -> None:
        """Cut every connection to a database, as a restart would."""
        with self._admin.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (_name_of(url),)
            )

    def stop(self) -> None:
        """Stop the server as a restart does: connections are cut, committed data is kept."""
        self._pg_ctl("stop", "-m", "fast")

    def start(self) -> None:
        self._pg_ctl("-o", self._options, "start")

    def stop_until_a_retry(self, patch: pytest.MonkeyPatch) -> list[float]:
        """Stop the server until a write has failed and waits to be repeated; return the waits."""
        self.stop()
        return at_the_first_retry(patch, self.start)

    def waits_in_a_transaction(self, url: str) -> bool:
        """Return whether a client of a database has begun a transaction and now sends nothing."""
        with self._admin.connect() as connection:
            idle = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in transaction%%'"
            return connection.exec_driver_sql(idle, (_name_of(url),)).first() is not None

    def ensure_up(self) -> None:
        """Start the server unless it runs."""
        if self._pg_ctl("status", check=False):
            self.start()

    def new_login(self, url: str, password: str) -> str:
        """Make a new role with a password the owner of a database; return its URL without the password."""
        name = _name_of(url)
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'")
            connection.exec_driver_sql(f'ALTER DATABASE "{name}" OWNER TO "{name}"')
            rules = self.folder / "data" / "pg_hba.conf"
            rules.write_text(f"local {name} {name} scram-sha-256\n{rules.read_text()}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        return f"postgresql://{name}:{{password}}@/{name}?host={self.folder}"

    def close(self) -> None:
        """Stop the server at once."""
        self._admin.dispose()
        self._pg_ctl("stop", "-m", "immediate", check=False)

    def _pg_ctl(self, *arguments: str, check: bool = True) -> int:
        command = [*self._control, *arguments]
        return subprocess.run(command, check=check, capture_output=True, cwd="/").returncode


def _name_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


@contextmanager
def server(parent: Path = Path("/tmp")) -> Iterator[Server]:  # noqa: S108  # the folder is a new one
    """Run a server with its files in a new folder of `parent` while the block runs.

    Without PostgreSQL, the test is skipped with a warning.
    """
    found = programs()
    if found is None:
        warnings.warn("PostgreSQL is not installed: its tests are SKIPPED", stacklevel=2)
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    # Not pytest's folder: the path of a socket must be short, and the server's user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="ledger-pg-", dir=parent))
    if as_user():
        shutil.chown(folder, "nobody", "nogroup")
    data = folder / "data"
    cluster = ("-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--no-locale")
    subprocess.run(
        [*as_user(), found / "initdb", "-D", data, *cluster], check=True, capture_output=True, cwd="/"
    )
    # Test data need not survive a crash of the machine. A ledger must turn `synchronous_commit` on itself.
    unsafe = "-c fsync=off -c synchronous_commit=off"
    options = f"-k {folder} -c listen_addresses='' {unsafe} -c max_connections=200"
    control = [*as_user(), found / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    running = Server(folder, control, options)
    try:
        running.start()
        yield running
    finally:
        running.close()
        shutil.rmtree(folder, ignore_errors=True)
