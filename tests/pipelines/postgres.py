"""A PostgreSQL of our own for the tests, from the system's packages, on a socket and no port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa


def programs() -> Path:
    """Folder of initdb and postgres; skips where there is none."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    pytest.skip("no PostgreSQL server installed: initdb is neither on PATH nor below /usr/lib")


def account() -> str | None:
    """Somebody else to run as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    pytest.skip("PostgreSQL does not run as root, and there is no account to run it as")


def server() -> Iterator[str]:
    """Run a server; yields the URL of its databases with a place for the ``name``."""
    pytest.importorskip("psycopg", reason="no PostgreSQL driver: install the extra postgres")
    binaries, user = programs(), account()
    folder = Path(tempfile.mkdtemp(prefix="pear-pg-"))  # short: sockets have short names
    if user is not None:
        shutil.chown(folder, user)
    run = {"check": True, "user": user, "cwd": folder, "capture_output": True}
    control = [str(binaries / "pg_ctl"), "-D", str(folder / "db"), "-w", "-s"]
    settings = f"-c listen_addresses='' -k {folder} -c max_connections=60 -c fsync=off"
    try:
        make = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([str(binaries / "initdb"), "-D", str(folder / "db"), *make], **run)
        start = [*control, "-l", str(folder / "log"), "-o", settings, "start"]
        subprocess.run(start, **{**run, "capture_output": False})
        try:
            yield f"postgresql://postgres@/{{name}}?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def database(server_url: str, name: str) -> str:
    """Make an empty schema, as good as a database and quicker; returns its URL."""
    url = server_url.format(name="postgres")
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text(f'CREATE SCHEMA "{name}"'))
    engine.dispose()
    return f"{url}&options=-csearch_path%3D{name}"
