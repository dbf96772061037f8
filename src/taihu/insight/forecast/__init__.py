"""Forecasts of any series: candidates, the back-test that chooses between them, and calibrated quantiles."""
