"""Pure functions from data to a plotly figure; empty data gives a figure that says so."""
