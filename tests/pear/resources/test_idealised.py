"""The idealised mountains stand where the great ranges do, and means are kept across grids."""

from __future__ import annotations

import numpy as np
import pytest

from pear.resources.idealised import idealised_surface, mountain_height


def test_mountains_stand_where_they_should() -> None:
    everest = mountain_height(np.array(85.0), np.array(34.0))
    assert 4200 < everest < 5000
    assert mountain_height(np.array(0.0), np.array(-90.0)) > 2500
    assert mountain_height(np.array(180.0), np.array(0.0)) < 10
    # Andes at 291° E: the same place whether longitude is counted from -180 or 0.
    assert mountain_height(np.array(-69.0), np.array(-20.0)) == pytest.approx(
        mountain_height(np.array(291.0), np.array(-20.0))
    )


def test_coarser_cells_keep_the_mean() -> None:
    fields = idealised_surface(8)
    assert fields["orography"].shape == (768,)
    assert 0.27 < fields["land_fraction"].mean() < 0.31
    fine = idealised_surface(16)
    for name in fields:
        assert fine[name].mean() == pytest.approx(fields[name].mean(), rel=1e-6)
