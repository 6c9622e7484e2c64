"""Models over HTTP."""

from __future__ import annotations

import httpx
import numpy as np

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
