"""Maps of fields on HEALPix; needs the extra ``plot`` (cartopy and matplotlib).

Images are sums of cells, coastlines come with the package: nothing is interpolated by matplotlib,
and nothing is downloaded.
"""

try:
    from pear.plotting.fields import plot
    from pear.plotting.projections import PROJECTIONS, View
    from pear.plotting.styles import Style, style_of
except ModuleNotFoundError as error:
    if str(error.name).partition(".")[0] == "pear":
        raise
    raise ModuleNotFoundError(
        f"plotting needs {error.name}; pip install 'pear-weather[plot]'", name=error.name
    ) from error

__all__ = ["PROJECTIONS", "Style", "View", "plot", "style_of"]
