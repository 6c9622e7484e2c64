"""How a handler answers with something that cannot change, and with something that can."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from fastapi import Request, Response

from pipelines.catalog import Run
from service.caching import IMMUTABLE, Answer, BoundedCache, etag_of, matches_etag
from service.fastlane import keep


def immutable_answer(
    request: Request,
    cache: BoundedCache[Answer],
    run: Run,
    key: tuple[Hashable, ...],
    make: Callable[[], Answer],
    *,
    pinned: bool | None = None,
) -> Response:
    """Answer from the cache, or make the answer and keep it; 304 if the client holds it.

    Parameters
    ----------
    run
        A finished run, which never changes.
    key
        Everything else that determines the answer.
    pinned
        Whether the request names the run; by default whether its path does so, instead of
        ``latest``, which is another run tomorrow.
    """
    whole = (run.id, str(run.finished_at), *key)
    answer = cache.get_or(whole, make)
    if pinned is None:
        pinned = request.path_params.get("run_id") != "latest"
    control = IMMUTABLE if pinned else "no-cache"
    headers = {"ETag": etag_of(*whole), "Cache-Control": control, **dict(answer.headers)}
    if pinned:
        keep(request, run.id, answer, headers)
    if matches_etag(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type=answer.media_type, headers=headers)
