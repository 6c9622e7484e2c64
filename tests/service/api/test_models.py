"""Models over HTTP."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import httpx
import numpy as np

from pear.variables.own import DEFINITIONS, definitions, load_variables
from service.api.models import describe_variables
from tests.fixtures.own_variables import forgetting, write
from tests.fixtures.service import NSIDE


def test_a_model_lists_variables_and_skill(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["items"]
    assert model["cells"] == 12 * NSIDE**2
    assert model["longest_lead_hours"] % model["step_hours"] == 0
    assert client.get(f"/v1/models/{model['id']}").json() == model
    assert {variable["name"] for variable in model["variables"]} >= {"geopotential"}
    assert model["equivariance_error"] is None, "the made-up model was never added from files"
    skill = model["skill"]
    assert (skill["variable"], skill["level"], skill["region"]) == ("geopotential", 500, "global")
    assert skill["lead_days"] == list(range(1, 11))
    np.testing.assert_allclose(skill["acc"], 0.97 ** np.arange(1, 11))


def test_variables_that_a_checkpoint_defines_are_listed_without_the_users_file(
    tmp_path: Path,
) -> None:
    layout = {"surface": ["skin_temperature"], "upper": [], "levels": []}
    with forgetting():
        load_variables(write(tmp_path))
        attributes = {"layout": layout, DEFINITIONS: definitions(["skin_temperature"])}
    with forgetting():
        (row,) = describe_variables(Mock(id="m", attributes=attributes))
    assert (row.short_name, row.units) == ("skt", "K")
