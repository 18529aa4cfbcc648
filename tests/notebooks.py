"""What the notebooks' tests share: small Delta tables, and a notebook executed on them."""

from pathlib import Path
from typing import Any

import nbformat
import pyarrow as pa
from deltalake import write_deltalake
from nbclient import NotebookClient

from headwater.contracts.base import Stream
from headwater.delta import arrow_schema, fields_of_table
from headwater.settings import Settings

FOLDER = Path(__file__).parents[1] / "notebooks"


def write_tables(home: Path, stream: Stream, **tables: list[dict[str, Any]]) -> None:
    """Write rows to a stream's tables under a home; a table that is not named is not there."""
    for name, rows in tables.items():
        schema = arrow_schema(fields_of_table(stream, name))
        write_deltalake(str(Settings(home=home).delta(stream.name, name)), pa.Table.from_pylist(rows, schema=schema))


def execute(name: str, folder: Path) -> dict[str, str]:
    """Run a notebook from top to bottom in a folder; gives each code cell's outputs as text, by the cell's id."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return {cell.id: str(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"}


def has_outputs(name: str) -> bool:
    """Whether a notebook holds what an execution left."""
    cells = nbformat.read(FOLDER / name, as_version=4).cells
    return any(cell.get("outputs") or cell.get("execution_count") is not None for cell in cells)
