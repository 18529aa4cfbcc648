"""What the notebooks' tests share: small Delta tables, and a notebook executed on them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pyarrow as pa
import sqlalchemy as sa
from deltalake import write_deltalake
from nbclient import NotebookClient

from headwater.contracts.base import Stream
from headwater.delta import arrow_schema, fields_of_table
from headwater.settings import Settings
from headwater.sql import metadata_of, sql_name

FOLDER = Path(__file__).parents[1] / "notebooks"


@dataclass(frozen=True)
class Notebook:
    """A stream's notebook: its charts by their cells' ids, and what a chart says that has nothing to draw."""

    stream: Stream
    charts: frozenset[str]
    empty: tuple[str, ...]

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.stream.name}.ipynb"

    def run(self, home: Path, **tables: list[dict[str, Any]]) -> dict[str, str]:
        """Execute it on the tables given; each code cell's outputs as text, by the cell's id."""
        write_tables(home, self.stream, **tables)
        notebook = nbformat.read(self.path, as_version=4)
        client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(home)}})
        client.execute(env=os.environ | {"HEADWATER_HOME": str(home)})
        return {cell.id: str(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"}

    def empty_charts(self, outputs: dict[str, str]) -> set[str]:
        """The charts that have nothing to draw."""
        return {cell for cell in self.charts if any(text in outputs[cell] for text in self.empty)}

    def has_outputs(self) -> bool:
        """Whether the file holds what an execution left."""
        cells = nbformat.read(self.path, as_version=4).cells
        return any(cell.get("outputs") or cell.get("execution_count") is not None for cell in cells)


def write_tables(home: Path, stream: Stream, **tables: list[dict[str, Any]]) -> None:
    """Write rows to a stream's tables under a home; a table that is not named is not there."""
    for name, rows in tables.items():
        schema = arrow_schema(fields_of_table(stream, name))
        write_deltalake(str(Settings(home=home).delta(stream.name, name)), pa.Table.from_pylist(rows, schema=schema))


def write_sql(home: Path, stream: Stream, **tables: list[dict[str, Any]]) -> None:
    """Write rows to a stream's tables in the SQL database of a home."""
    engine, metadata = sa.create_engine(Settings(home=home).sql_url), metadata_of(stream)
    metadata.create_all(engine)
    with engine.begin() as connection:
        for name, rows in tables.items():
            connection.execute(sa.insert(metadata.tables[sql_name(stream, stream.table(name))]), rows)
    engine.dispose()
