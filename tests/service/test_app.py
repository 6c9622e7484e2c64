"""The application as a whole."""

from __future__ import annotations

import asyncio
import inspect
import threading

from fastapi.routing import APIRoute

from service.app import ROUTERS, _end, _in_thread


def test_handlers_run_in_threads_unless_they_only_wait() -> None:
    """Handlers are plain functions, run in threads, but for these few that only wait."""
    waiting = {
        route.endpoint.__name__
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and inspect.iscoroutinefunction(route.endpoint)
    }
    assert waiting == {
        "healthz",
        "readyz",
        "get_health",
        "submit_forecast",
        "download",
        "get_map",
        "get_point",
        "get_field",
        "get_normals",
        "get_animation",
        "get_map_as_svg",
        "get_open_meteo",
        "get_open_meteo_ensemble",
        "get_tile",
        "ogc_tile",
        "get_wms",
        "edr_position",
        "edr_radius",
        "edr_area",
        "edr_cube",
        "edr_trajectory",
        "get_scores",
        "get_scorecard",
        "get_ranks",
        "get_spectra",
        "get_error_map",
        "get_analysis_field",
        "stream_run_events",
    }


def test_background_work_has_ended_when_the_service_has() -> None:
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        may_end.wait(10)
        ended.set()

    async def live() -> bool:
        task = asyncio.create_task(_in_thread(work))
        await asyncio.to_thread(began.wait, 10)
        asyncio.get_running_loop().call_later(0.05, may_end.set)
        await _end([task])
        return task.cancelled()

    assert asyncio.run(live())
    assert ended.is_set()
