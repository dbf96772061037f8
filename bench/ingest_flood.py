"""Ingest flood: QoS 1, 60-byte JSON of three numbers, pipelined; every point is found in the history afterwards."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from bench.harness import Measured, Options, Report, measure, median_by
from bench.load import PROPERTIES, TIME_BASE_MS, TIME_STEP_MS, TOPIC, Blocks, Plan, Result, payload_values
from bench.machine import MemoryWatch
from bench.node import Node, gauge
from bench.peers import Absent, Peer, amqtt, mosquitto, nats
from bench.people import people

NAME = "ingest_flood"
_WINDOW = 1000
_MS = 1_000_000
_SAMPLES = 5
_POINTS_GOAL = 450_000


def run(options: Options) -> Report:
    """Our node in both forms, then the peers, with 1 and 50 connections, `runs` times in turn."""
    report = Report(NAME, "Ingest flood: MQTT QoS 1, 60-byte JSON with 3 numbers, pipelined, to the history")
    runs = 1 if options.smoke else options.runs
    for connections in (1, 8) if options.smoke else (1, 50):
        ours: dict[bool, list[tuple[Measured, Node]]] = {}
        contenders: dict[str, Callable[[], tuple[Measured, dict[str, float]]]] = {
            "taihu, device time": lambda c=connections: _ours(options, c, True),
            "taihu": lambda c=connections: _ours(options, c, False),
        }
        found: dict[str, list[tuple[Measured, dict[str, float]]]] = {name: [] for name in contenders}
