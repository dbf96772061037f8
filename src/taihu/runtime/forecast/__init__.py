"""Forecasts as a service: series read, models trained in a process of their own, answers kept."""
