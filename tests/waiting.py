"""How long a test waits for what must come: the time is there to end what hangs, and a paused machine is no reason."""

WAIT_S = 60.0
