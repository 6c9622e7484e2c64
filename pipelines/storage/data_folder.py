"""Where things lie in a data folder: the one owner of its paths.

::

    DATA/
      catalog.sqlite            what exists and what runs
      analyses/NAME.zarr        states by valid time, nested HEALPix
      climatology/NAME.zarr     day-of-year climatology of an analysis
      models/ID/                checkpoints (model.safetensors + checkpoint.json)
      forecasts/RUN_ID.zarr     finished forecasts, never changed
      evaluations/ID/           scores.nc, scores.csv, plots
      scratch/                  half-written things; safe to delete while nothing runs
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pear.errors import InputError

_PARTS = ("analyses", "climatology", "models", "forecasts", "evaluations", "scratch")


@dataclass(frozen=True)
class DataFolder:
    """A folder with the layout above.

    Attributes
    ----------
    root
        The folder; created by :meth:`create`.
    """

    root: Path

    @classmethod
    def create(cls, root: Path | str) -> DataFolder:
        """Make the folder and its parts if they are missing."""
        folder = cls(Path(root).resolve())
        for part in _PARTS:
            (folder.root / part).mkdir(parents=True, exist_ok=True)
        return folder

    @classmethod
    def open(cls, root: Path | str) -> DataFolder:
        """Open an existing data folder.

        Raises
        ------
        InputError
            If the path is no data folder.
        """
        folder = cls(Path(root).resolve())
        if not folder.root.is_dir():
            raise InputError(
                f"no data folder at {root}",
                field="--data",
                hint="make one with `pear demo --once --out DIR` or `pear ingest … --data DIR`",
            )
        if not (folder.root / "analyses").is_dir():
            raise InputError(f"{root} is no data folder: it has no analyses/", field="--data")
        return cls.create(root)

    @property
    def catalog(self) -> Path:
        """The SQLite catalog."""
        return self.root / "catalog.sqlite"

    @property
    def catalog_url(self) -> str:
        """How the catalog is opened: ``PEAR_CATALOG`` if that is set, else the SQLite file."""
        return os.environ.get("PEAR_CATALOG") or str(self.catalog)

    @property
    def scratch(self) -> Path:
        """Half-written things."""
        return self.root / "scratch"

    def analysis(self, name: str) -> Path:
        """Path of the analysis store of this name."""
        return self.root / "analyses" / f"{_safe(name)}.zarr"

    def climatology(self, name: str) -> Path:
        """Path of the climatology store of this name."""
        return self.root / "climatology" / f"{_safe(name)}.zarr"

    def model(self, model_id: str) -> Path:
        """Path of the checkpoint folder of this model."""
        return self.root / "models" / _safe(model_id)

    def forecast(self, run_id: str) -> Path:
        """Path of the forecast store of this run."""
        return self.root / "forecasts" / f"{_safe(run_id)}.zarr"

    def evaluation(self, evaluation_id: str) -> Path:
        """Path of the folder of this evaluation."""
        return self.root / "evaluations" / _safe(evaluation_id)


def _safe(name: str) -> str:
    """Refuse a name that could leave its folder; every name in a path passes here."""
    stem = name.replace("-", "").replace("_", "").replace(".", "")
    if not stem.isascii() or not stem.isalnum() or name.startswith(".") or len(name) > 128:
        raise InputError(
            f"{name!r} is no name: letters, digits, '-', '_' and '.' only", field="name"
        )
    return name
