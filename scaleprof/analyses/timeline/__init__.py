"""Steps of some ranks on one clock, as slices of a picture."""
