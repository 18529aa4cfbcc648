"""AG Grid in the app's colours, and the columns that recur."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag

# Mantine's CSS variables follow the colour scheme, so the grid does too, without being told.
THEME = (
    "themeQuartz.withParams({"
    "backgroundColor: 'var(--hw-card)', foregroundColor: 'var(--hw-text)', borderColor: 'var(--hw-line)',"
    "headerBackgroundColor: 'var(--hw-card)', headerTextColor: 'var(--hw-muted)', rowHoverColor: 'var(--hw-hover)',"
    "selectedRowBackgroundColor: 'var(--hw-hover)', chromeBackgroundColor: 'var(--hw-card)',"
    "menuBackgroundColor: 'var(--hw-card)', inputBackgroundColor: 'var(--hw-card)',"
    "accentColor: 'var(--mantine-color-blue-6)', fontFamily: 'inherit', fontSize: 13, spacing: 6,"
    "wrapperBorder: false, wrapperBorderRadius: 0, browserColorScheme: 'inherit'"
    "})"
)


def number(field: str, header: str, form: str = ",d", **options: Any) -> dict[str, Any]:
    """A right-aligned column with thousands separators."""
    return {
        "field": field,
        "headerName": header,
        "headerClass": "ag-right-aligned-header",
        "filter": "agNumberColumnFilter",
        "valueFormatter": {"function": f"params.value == null ? '' : d3.format('{form}')(params.value)"},
        "cellClass": "ag-right-aligned-cell hw-number",
        **options,
    }


def words(field: str, header: str, **options: Any) -> dict[str, Any]:
    """A column of text."""
    return {"field": field, "headerName": header, "filter": "agTextColumnFilter", **options}


def grid(component_id: str, columns: list[dict[str, Any]], row_id: str, height: int, empty: str, **options: Any) -> Any:
    """A grid whose rows keep their identity, so that sort, filter, scroll and selection outlive an update."""
    return dag.AgGrid(
        id=component_id,
        columnDefs=columns,
        rowData=[],
        getRowId=row_id,
        defaultColDef={"sortable": True, "resizable": True, "minWidth": 80, "wrapHeaderText": True},
        dashGridOptions={
            "theme": {"function": THEME},
            "animateRows": False,
            "rowSelection": {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True},
            "localeText": {"noRowsToShow": empty},
            "suppressCellFocus": False,
            "enableCellTextSelection": True,
            **options,
        },
        style={"height": height},
    )
