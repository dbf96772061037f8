"""What somebody asked to be gone, exactly: of a project, a thing or a property, all of it or a range of time."""

import msgspec

TIME_MIN, TIME_MAX = -(1 << 63), (1 << 63) - 1


class Deletion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A deletion of what was received before it; what comes later is new.

    An empty `thing` or `property` says all of them. `start` <= observed_at < `end` (UTC ns) is gone. `removes` says
    that the thing, or the project, goes too with its credentials and all that is known of it. `at` is when it was asked
    for (UTC ns), `by` who.
    """

    id: str
    project: str
    thing: str = ""
    property: str = ""
    start: int = TIME_MIN
    end: int = TIME_MAX
    removes: bool = False
    at: int = 0
    by: str = ""

    def names(self, thing: str, name: str = "") -> bool:
        """Whether it is of `thing` and, where one is given, of the property `name`."""
        return self.thing in ("", thing) and (not name or self.property in ("", name))

    def covers(self, thing: str, name: str, observed_at: int) -> bool:
        """Whether a reading that was received before it is gone."""
        return self.names(thing, name) and self.start <= observed_at < self.end

    def where(self) -> str:
        """The address, for people: `project/thing/property` with what is not named left out."""
        return "/".join(part for part in (self.project, self.thing, self.property) if part)


_decoder = msgspec.msgpack.Decoder(Deletion)


def encode_deletion(deletion: Deletion) -> bytes:
    """The journal's bytes of a deletion."""
    return msgspec.msgpack.encode(deletion)


def decode_deletion(data: bytes) -> Deletion:
    """Inverse of `encode_deletion`; raises msgspec.DecodeError on anything else."""
    return _decoder.decode(data)
