"""Read-only SQL over one project's history (§11), answered by DuckDB in a process that can do nothing else.

Handles: one SELECT, with joins, CTEs, windows and the functions of `functions`, over the views of `views`: what is in
files and what is still in the head, corrections resolved. Does not handle: any other statement, several projects at
once, files, settings, extensions. The statement is parsed and checked (`check`) before anything runs, and runs in a
child process (`child`) with limits of the operating system (`confine`) that hold even where the check should fail.
"""
