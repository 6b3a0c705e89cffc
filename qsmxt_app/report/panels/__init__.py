"""The panels of a scan, in their order. One module per panel: see `docs/contributing/add-a-panel.md`."""

from importlib import import_module

from qsmxt_app.report.panel import PanelType

_MODULES = (
    "qsmxt_app.report.panels.chi",
    "qsmxt_app.report.panels.nuclei",
    "qsmxt_app.report.panels.regions",
    "qsmxt_app.report.panels.regional_values",
    "qsmxt_app.report.panels.registration",
    "qsmxt_app.report.panels.phase",
    "qsmxt_app.report.panels.mask",
    "qsmxt_app.report.panels.field",
    "qsmxt_app.report.panels.maps",
    "qsmxt_app.report.panels.convergence",
)
PANELS: tuple[PanelType, ...] = tuple(panel for module in _MODULES for panel in import_module(module).PANELS)
