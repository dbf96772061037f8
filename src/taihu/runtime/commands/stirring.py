"""What happened to commands, as a source of the pipeline: nobody waits for it, and one stands for all not yet taken."""


class Stirring:
    """`taken` says that it is part of a group commit, and what happens from now on needs another."""

    def __init__(self, *, taken: bool = False) -> None:
        self.taken = taken

    def take(self) -> list[tuple[object, bytes]]:
        """No readings: the desk adds its records to every group."""
        self.taken = True
        return []

    def committed(self) -> None:
        """It is durable."""
