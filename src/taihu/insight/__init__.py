"""Forecasts: functions over what was measured."""
