"""Layout of a data folder: the only module that knows its paths.

::

    DATA/
      catalog.sqlite            stores, models and jobs
      analyses/NAME.zarr        states by valid time, nested HEALPix
      climatology/NAME.zarr     day-of-year climatology of an analysis
      models/ID/                checkpoints (model.safetensors + checkpoint.json)
      forecasts/RUN_ID.zarr     finished forecasts, never changed
      evaluations/ID/           scores and plots
      scratch/                  partial results; may be deleted while nothing runs
      variables.toml            variables of one's own, if there are any
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pear.errors import InputError
from pear.variables.own import FILE, load_variables
from pipelines.storage.atomic import is_writable, require_space

_PARTS = ("analyses", "climatology", "models", "forecasts", "evaluations", "scratch")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!$)")
_NAME = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")


class UnwritableError(InputError):
    """The data folder or its catalog cannot be written, whatever the request."""


class FullDiskError(UnwritableError):
    """The disk of the data folder has no room for what is asked for."""


@dataclass(frozen=True)
class DataFolder:
    """A folder with the layout above.

    Attributes
    ----------
    root
        Path of the folder.
    """

    root: Path

    def __post_init__(self) -> None:
        require_local(self.root, "--data")
        if (path := self.root / FILE).is_file():
            load_variables(path)

    @classmethod
    def create(cls, root: Path | str) -> DataFolder:
        """Create the folder and its parts if they do not exist."""
        require_local(root, "--data")
        folder = cls(Path(root).resolve())
        for part in _PARTS:
            (folder.root / part).mkdir(parents=True, exist_ok=True)
        return folder

    @classmethod
    def open(cls, root: Path | str) -> DataFolder:
        """Open an existing data folder.

        Parameters
        ----------
        root
            Path of the folder.

        Returns
        -------
        DataFolder
            The folder, with all its parts if it can be written.

        Raises
        ------
        InputError
            If the path is not a data folder.
        """
        require_local(root, "--data")
        folder = Path(root).resolve()
        if not folder.is_dir():
            raise InputError(
                f"no data folder at {root}",
                field="--data",
                hint="make one with `pear demo --once --output DIR` or `pear ingest … --data DIR`",
            )
        if not (folder / "analyses").is_dir():
            raise InputError(
                f"{root} is not a data folder: it has no analyses/",
                field="--data",
                hint="name a folder made by `pear demo` or `pear ingest`",
            )
        return cls.create(root) if is_writable(folder) else cls(folder)

    @property
    def is_writable(self) -> bool:
        """True if this process may write into the folder and its parts."""
        parts = (self.root, *(self.root / part for part in _PARTS))
        return all(is_writable(path) for path in parts if path.exists())

    def require_room(self, nbytes: int) -> None:
        """Check, before work is accepted, that its result can be written.

        Parameters
        ----------
        nbytes
            About what will be written.

        Raises
        ------
        FullDiskError
            If the disk has no room for twice the bytes and a reserve; UnwritableError if the folder
            cannot be written.
        """
        self.require_writable()
        try:
            require_space(self.root, nbytes)
        except OSError as error:
            raise FullDiskError(error.strerror or str(error), hint="make room") from error

    def require_writable(self) -> None:
        """Raise UnwritableError if the folder cannot be written."""
        if not self.is_writable:
            raise UnwritableError(
                f"{self.root} cannot be written: it is read-only",
                field="--data",
                hint="what it holds can be read; submit work where it is writable",
            )

    @property
    def parts(self) -> dict[str, Path]:
        """Folders of each kind of entry, by name."""
        return {part: self.root / part for part in _PARTS}

    @property
    def catalog(self) -> Path:
        """Path of the SQLite catalog."""
        return self.root / "catalog.sqlite"

    @property
    def catalog_url(self) -> str:
        """URL of the catalog: ``PEAR_CATALOG`` if set, else the SQLite file."""
        return os.environ.get("PEAR_CATALOG") or str(self.catalog)

    @property
    def scratch(self) -> Path:
        """Folder of partial results and locks."""
        return self.root / "scratch"

    def analysis(self, name: str) -> Path:
        """Return the path of an analysis store."""
        return self.root / "analyses" / f"{check_name(name)}.zarr"

    def climatology(self, name: str) -> Path:
        """Return the path of a climatology store."""
        return self.root / "climatology" / f"{check_name(name)}.zarr"

    def model(self, model_id: str) -> Path:
        """Return the path of a checkpoint folder."""
        return self.root / "models" / check_name(model_id)

    def forecast(self, run_id: str) -> Path:
        """Return the path of the forecast store of a run."""
        return self.root / "forecasts" / f"{check_name(run_id)}.zarr"

    def evaluation(self, evaluation_id: str) -> Path:
        """Return the path of the folder of an evaluation."""
        return self.root / "evaluations" / check_name(evaluation_id)


def require_local(path: Path | str, field: str) -> None:
    """Refuse an address such as ``s3://bucket/x`` where a local path is expected.

    As a path it would become a folder of that name in the working directory.

    Parameters
    ----------
    path
        The path.
    field
        Option that gave it.

    Raises
    ------
    InputError
        If it is an address.
    """
    if _ADDRESS.match(str(path)):
        shown = re.sub(":/+", "://", str(path), count=1)  # as it was before it became a path
        raise InputError(
            f"{shown} is an address; {field} takes a local path",
            field=field,
            hint="write to a folder and copy it, or mount the address as a folder",
        )


def check_name(name: str, field: str = "name") -> str:
    """Return a name that cannot leave its folder, else InputError; names in paths pass here."""
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= 64 else name[:64] + "…"
        raise InputError(
            f"invalid name {shown!r}",
            field=field,
            hint="use 1 to 128 letters, digits, '-', '_' and '.', a letter or digit among them",
        )
    return name
