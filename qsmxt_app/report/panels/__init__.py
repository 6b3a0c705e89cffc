"""The panels of a scan, in their order. One module a panel: see `docs/contributing/add-a-panel.md`."""

from qsmxt_app.report.panel import PanelType
from qsmxt_app.report.panels import chi, convergence, field, maps, mask, regional_values, regions

PANELS: tuple[PanelType, ...] = (
    chi.PANEL,
    regions.SEGMENTATION,
    regional_values.PANEL,
    regions.REGISTRATION,
    field.PHASE,
    mask.PANEL,
    field.FIELD,
    *maps.PANELS,
    convergence.PANEL,
)
