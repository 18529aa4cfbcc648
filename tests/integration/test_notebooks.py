"""What holds for every notebook."""

from pathlib import Path

import pytest

from tests.integration import (
    test_notebook_aircraft,
    test_notebook_co2,
    test_notebook_events,
    test_notebook_sales,
    test_notebook_trucks,
)
from tests.notebooks import FOLDER, Notebook

NOTEBOOKS = {
    notebook.path: notebook
    for notebook in (
        test_notebook_aircraft.NOTEBOOK,
        test_notebook_co2.NOTEBOOK,
        test_notebook_events.NOTEBOOK,
        test_notebook_sales.NOTEBOOK,
        test_notebook_trucks.NOTEBOOK,
    )
}
each = pytest.mark.parametrize("notebook", NOTEBOOKS.values(), ids=lambda notebook: notebook.stream.name)


def test_none_is_forgotten() -> None:
    assert set(FOLDER.glob("*.ipynb")) == NOTEBOOKS.keys()


@each
def test_it_is_friendly_before_there_is_any_data(notebook: Notebook, tmp_path: Path) -> None:
    assert notebook.empty_charts(notebook.run(tmp_path)) == notebook.charts


@each
def test_it_is_committed_without_outputs(notebook: Notebook) -> None:
    assert not notebook.has_outputs()
