"""Charts as the plain dictionaries that plotly draws, one file per family of pictures; none of them imports plotly."""
