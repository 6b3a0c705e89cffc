"""Maps whose values are measured in regions, and averaged over participants: chi, and all that say so."""

from qsmxt_app.maps import MAPS
from qsmxt_app.maps.declaration import MeasuredOutput, Output

CHI = MeasuredOutput(
    "Chimap",
    units="ppm",
    title="Susceptibility (χ)",
    quantity="magnetic susceptibility",
    relative=True,
    averaged=True,
)
MEASURED = {"chi": CHI} | {
    name: output
    for step in MAPS.values()
    for name, output in step.outputs.items()
    if isinstance(output, MeasuredOutput)
}
"""By name, in the order in which they are made."""
AVERAGED = {name: output for name, output in MEASURED.items() if output.averaged}
"""Those that are warped to the template of a group."""


def averaged_desc(output: Output, statistic: str | None) -> str | None:
    """Return the `desc` of a statistic over participants; None as statistic for what the template itself is.

    Examples
    --------
    >>> averaged_desc(CHI, "mean"), averaged_desc(Output("Chimap", "noise"), "mean")
    ('mean', 'noiseMean')
    """
    if output.desc and statistic:
        return output.desc + statistic.capitalize()
    return output.desc or statistic
