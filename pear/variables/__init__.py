"""The table of variables: names, aliases, units, valid ranges, styles and the order of channels.

The table is ``variables.toml``. Names are WeatherBench2's; aliases are those of ECMWF, CDS, NCEP
and CMIP.
"""

from pear.variables.attributes import (
    MEMBERS,
    PROBABILITY,
    SIMULATED,
    STATISTIC,
    holds_vectors,
)
from pear.variables.definition import Kind, Style, Variable
from pear.variables.derived import derived_rows
from pear.variables.layout import LEVELS, Layout, ProbabilityLayout, channel_label
from pear.variables.table import (
    BY_NAME,
    STANDARD_GRAVITY,
    VARIABLES,
    parse_field,
    rms_range,
    valid_range,
    variable,
    wind_pair,
    wind_pairs,
    wind_partner,
)

__all__ = [
    "BY_NAME",
    "LEVELS",
    "MEMBERS",
    "PROBABILITY",
    "SIMULATED",
    "STANDARD_GRAVITY",
    "STATISTIC",
    "VARIABLES",
    "Kind",
    "Layout",
    "ProbabilityLayout",
    "Style",
    "Variable",
    "channel_label",
    "derived_rows",
    "holds_vectors",
    "parse_field",
    "rms_range",
    "valid_range",
    "variable",
    "wind_pair",
    "wind_pairs",
    "wind_partner",
]
