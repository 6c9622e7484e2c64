"""What an evaluation keeps beside its scores: ranks of ensembles, spectra and error maps."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from pear.errors import InputError
from pear.sphere.healpix import nside_from_cells
from pear.variables import variable as row_of
from service.api.evaluations import EvaluationId, ModelId, find_scores, split_field
from service.dependencies import Services, ServicesDep
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute
from service.readers import score_parts
from service.readers.resample import pack_u16
from service.readers.scores import Scores, select

router = APIRouter(prefix="/v1/scores", tags=["scores"], route_class=GuardedRoute)
_Variable = Annotated[
    str, Query(max_length=64, description="Name or alias: msl, z500.", examples=["z500"])
]
_Level = Annotated[int | None, Query(ge=1, le=1100, description="Pressure level, hPa.")]
_Share = Annotated[float, Field(ge=0, le=1)]


class RankCounts(BaseModel):
    """How often the analysis had each rank at one lead time."""

    lead_days: float = Field(description="Lead time, days.")
    shares: list[_Share] = Field(description="Share of each rank, from below all members; sum 1.")


class RankHistogram(BaseModel):
    """Ranks of the analysis among the members of an ensemble; equal shares if it is reliable."""

    evaluation: str = Field(description="Evaluation id.")
    variable: str = Field(description="Canonical name.")
    level: int | None = Field(description="Pressure level, hPa; null at the surface.")
    region: str
    members: int
    records: list[RankCounts]


class Spectrum(BaseModel):
    """Mean power of the forecasts and of the analyses at one lead time."""

    lead_days: float = Field(description="Lead time, days.")
    forecast: list[float] = Field(description="By degree from 0, unit squared.")
    analysis: list[float] = Field(description="By degree from 0, unit squared.")


class Spectra(BaseModel):
    """Power by degree of spherical harmonics."""

    evaluation: str = Field(description="Evaluation id.")
    variable: str = Field(description="Canonical name.")
    level: int | None = Field(description="Pressure level, hPa; null at the surface.")
    records: list[Spectrum]


def _field(variable: str, level: int | None) -> tuple[str, int | None]:
    """Return name and level of a field, which the name may include."""
    name, level = split_field(variable, level)
    if level is None and row_of(name).kind == "upper":
        raise InputError(f"{name} is on levels", field="level", hint="choose a level")
    return name, level


def _find(services: Services, evaluation: str | None, model: str | None) -> Scores:
    """Return an evaluation that keeps more than its scores."""
    scores = find_scores(services, evaluation, model)
    if not services.scores.keeps_sums(scores):
        raise InputError(
            f"evaluation {scores.id} was made by an earlier version, which kept scores alone",
            field="evaluation",
            hint="evaluate again",
        )
    return scores


@router.get(
    "/ranks",
    summary="Rank histogram of an ensemble",
    responses=problem_responses(404, 422, 503),
)
async def get_ranks(
    services: ServicesDep,
    variable: _Variable,
    level: _Level = None,
    region: Annotated[str, Query(max_length=64, description="Name of a region.")] = "global",
    model: ModelId = None,
    evaluation: EvaluationId = None,
) -> RankHistogram:
    """Return how often the analysis had each rank among the members, by lead time."""
    name, at = _field(variable, level)

    def make() -> RankHistogram:
        scores = _find(services, evaluation, model)
        sums = services.scores.read(
            scores, lambda data: select(data[["sums"]], variable=name, level=at, region=region)
        )
        members, records = score_parts.ranks(sums)
        return RankHistogram(
            evaluation=scores.id,
            variable=name,
            level=at,
            region=region,
            members=members,
            records=[RankCounts(**record) for record in records],
        )

    return await services.heavy.run(make)


@router.get("/spectra", summary="Spectra", responses=problem_responses(404, 422, 503))
async def get_spectra(
    services: ServicesDep,
    variable: _Variable,
    level: _Level = None,
    model: ModelId = None,
    evaluation: EvaluationId = None,
) -> Spectra:
    """Return the mean power of forecasts and analyses by degree of spherical harmonics."""
    name, at = _field(variable, level)

    def make() -> Spectra:
        scores = _find(services, evaluation, model)
        data = services.scores.read(
            scores,
            lambda data: score_parts.plotted(data, name, at, "power")[
                ["power", "power_of_analysis"]
            ],
        )
        records = [Spectrum(**record) for record in score_parts.spectra(data, scores)]
        return Spectra(evaluation=scores.id, variable=name, level=at, records=records)

    return await services.heavy.run(make)


@router.get(
    "/map",
    summary="Map of the error",
    response_class=Response,
    responses={
        200: {
            "description": "All cells in nested order. f32: little-endian float32. u16: "
            "little-endian uint16, value = PEAR-Offset + PEAR-Scale · packed; 65535 is missing.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        },
        **problem_responses(404, 422, 503),
    },
)
async def get_error_map(
    services: ServicesDep,
    variable: _Variable,
    lead_days: Annotated[
        float, Query(ge=0, le=400, description="Lead time, days.", examples=[5.0])
    ],
    level: _Level = None,
    metric: Annotated[
        Literal["rmse", "bias"], Query(description="Root mean square error, or mean error.")
    ] = "rmse",
    model: ModelId = None,
    evaluation: EvaluationId = None,
    format: Annotated[  # noqa: A002
        Literal["f32", "u16"], Query(description="Encoding of the values.")
    ] = "f32",
) -> Response:
    """Return the error of each cell over all init times of an evaluation."""
    name, at = _field(variable, level)

    def make() -> Response:
        scores = _find(services, evaluation, model)
        data = services.scores.read(
            scores,
            lambda data: score_parts.plotted(data, name, at, "squared_error_map")[
                ["error_map", "squared_error_map"]
            ],
        )
        values = score_parts.error_map(data, scores, metric, lead_days).astype("<f4")
        headers = {
            "PEAR-Evaluation": scores.id,
            "PEAR-Variable": name,
            "PEAR-Units": row_of(name).units,
            "PEAR-Lead-Hours": f"{24 * lead_days:g}",
            "PEAR-Grid": f"healpix nside={nside_from_cells(values.size)} order=nested",
        }
        if at is not None:
            headers["PEAR-Level"] = str(at)
        body = values.tobytes()
        if format == "u16":
            packed, scale, offset = pack_u16(values)
            headers |= {"PEAR-Scale": repr(scale), "PEAR-Offset": repr(offset)}
            body = packed.astype("<u2").tobytes()
        return Response(body, media_type="application/octet-stream", headers=headers)

    return await services.heavy.run(make)
