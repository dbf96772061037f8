"""The pages in a real browser, against a node with recorded answers, each language on its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from conftest import TOKEN, free_port  # type: ignore[import-not-found]  # pytest's own way to share helpers

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: the pages are not looked at")
