"""Work on stores that hosts share: who writes one, and what a host takes over from the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from pear.errors import InputError
from pipelines.catalog import Catalog
from pipelines.catalog.retention import reading_lock, remove_leftovers
from pipelines.logging import logger
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import SharedStores
from pipelines.storage.shared_index import INPUTS, KINDS, Kind


@contextmanager
def writing(
    data: DataFolder, kind: Kind, name: str, *, catalog: str | None = None
) -> Iterator[None]:
    """Write an analysis, a climatology or a model that other hosts read.

    Without shared stores nothing is done. Otherwise one host at a time writes it, begins with the
    version that is shared, and sends its own at the end; an error in the block sends nothing.

    Parameters
    ----------
    data
        The data folder, which is made if there is none.
    kind, name
        What is written.
    catalog
        URL of the catalog; default: that of the folder.

    Yields
    ------
    None
        While no other host writes it.

    Raises
    ------
    InputError
        If another host does, or has changed it while this one could not send. It is an OSError if
        the server of the shared stores fails.
    """
    shared = SharedStores.of(data)
    if shared is None:
        yield
        return
    DataFolder.create(data.root)
    with (
        Catalog(catalog or data.catalog_url) as opened,
        opened.lock_among_hosts(f"{kind}/{name}") as alone,
    ):
        if not alone:
            raise InputError(
                f"another host is writing to {kind}/{name}",
                field="store",
                hint="wait for it to end, or write to another store",
            )
        shared.claim(kind, name)
        yield
        if shared.path(kind, name).is_dir():
            shared.push(kind, name)


@contextmanager
def reading(data: DataFolder, runs: Iterable[str]) -> Iterator[None]:
    """Protect shared runs from removal by other hosts while the block runs.

    Parameters
    ----------
    data
        The data folder.
    runs
        Ids of the runs. Without shared stores the locks of this host are enough.

    Yields
    ------
    None
        While no host removes them.

    Raises
    ------
    InputError
        If one is being removed.
    """
    names = list(runs)
    if SharedStores.of(data) is None or not names:
        yield
        return
    with ExitStack() as locks:
        catalog = locks.enter_context(Catalog(data.catalog_url))
        for run in names:
            if not locks.enter_context(catalog.lock_among_hosts(reading_lock(run), shared=True)):
                raise InputError(f"run {run} is being removed", field="runs")
        yield


def fetch_inputs(data: DataFolder, *, everything: bool = False) -> None:
    """Fetch the shared models, analyses and climatologies, or everything that is shared.

    Parameters
    ----------
    data
        The data folder.
    everything
        Whether runs and evaluations are fetched too.

    Notes
    -----
    What is damaged there is left out, with a warning; a server that does not respond is an OSError.
    """
    shared = SharedStores.of(data)
    if shared is not None:
        for problem in shared.fetch_all(KINDS if everything else INPUTS):
            logger(root=str(data.root)).warning("not fetched", problem=problem)


def synchronise(shared: SharedStores, catalog: Catalog) -> tuple[list[str], list[str]]:
    """Take over what other hosts have shared, and remove the runs that they have removed.

    Parameters
    ----------
    shared
        The shared stores of this host.
    catalog
        The catalog that the hosts have in common.

    Returns
    -------
    removed, problems : list of str
        Ids of runs that are here no longer; what could not be fetched, and why. It is an OSError if
        the server does not respond.
    """
    return remove_leftovers(shared.data, catalog), shared.fetch_all()
