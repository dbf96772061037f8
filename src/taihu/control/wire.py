"""Commands on their way to a device over MQTT, and its answers: JSON on two topics of the thing.

    taihu/PROJECT/THING/$command    {"id", "affordance", "name", "input", "deadline", "permit", "until"}
    taihu/PROJECT/THING/$answer     {"id", "state", "detail", "result"}

A state is acknowledged, done, failed, unconfirmed (it left, and there will be no answer), lost (no answer came); and of
an edge node that passes it on, taken and expired. Only the node publishes commands, and only the thing or what speaks
for it answers.

Whoever may command a thing asks for it on `.../$set/PROPERTY` and `.../$do/ACTION`, and hears on `.../$steps`.
"""

from typing import Any, Literal, NamedTuple

import msgspec

from taihu.control.command import Affordance, Command
from taihu.control.permit import Permit
from taihu.kernel.errors import RemoteError

COMMAND, ANSWER = "$command", "$answer"
SET, DO, STEPS, EVENT = "$set", "$do", "$steps", "$event"
_OPERATIONS = {SET: Affordance.PROPERTY, DO: Affordance.ACTION}


class AnswerUnreadable(RemoteError):
    """What came on a command's topics is none of its messages."""

    code = "command-message"


class Operation(NamedTuple):
    """What a topic asks of a thing."""

    project: str
    thing: str
    affordance: Affordance
    name: str


def operation_of(topic: str) -> Operation | None:
    """The operation of a topic, if it is one's."""
    if "/$" not in topic:
        return None
    levels = topic.split("/")
    if len(levels) != 5 or levels[0] != "taihu" or levels[3] not in _OPERATIONS:
        return None
    return Operation(levels[1], levels[2], _OPERATIONS[levels[3]], levels[4])


def is_told(topic: str) -> bool:
    """Whether only the node publishes on a topic."""
    levels = topic.split("/")
    return len(levels) > 3 and levels[0] == "taihu" and levels[3] in (STEPS, EVENT)


class CommandMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A command as a device sees it. Times are UTC ns; `permit` proves that control sent it."""

    id: str
    affordance: Affordance
    name: str
    input: Any = None
    deadline: int
    permit: bytes
    until: int


class AnswerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What a device says of a command."""

    id: str
    state: Literal["acknowledged", "done", "failed", "unconfirmed", "lost", "taken", "expired"]
    detail: str = ""
    result: Any = None


def encode_command(command: Command, permit: Permit) -> bytes:
    """The payload of a command."""
    return msgspec.json.encode(
        CommandMessage(
            id=command.id,
            affordance=command.affordance,
            name=command.name,
            input=command.input,
            deadline=command.deadline,
            permit=permit.seal,
            until=permit.until,
        )
    )


def decode_command(project: str, thing: str, payload: bytes) -> tuple[Command, Permit]:
    """The command of a payload, and its permit, which is still to be checked; raises AnswerUnreadable."""
    message = _decode(_commands, payload)
    command = Command(
        id=message.id,
        project=project,
        thing=thing,
        affordance=message.affordance,
        name=message.name,
        input=message.input,
        at=0,
        deadline=message.deadline,
    )
    return command, Permit(message.id, message.until, message.permit)


def encode_answer(number: str, state: str, detail: str = "", result: Any = None) -> bytes:
    """The payload of an answer."""
    return msgspec.json.encode({"id": number, "state": state, "detail": detail, "result": result})


def decode_answer(payload: bytes) -> AnswerMessage:
    """The answer of a payload; raises AnswerUnreadable."""
    message: AnswerMessage = _decode(_answers, payload)
    return message


_commands = msgspec.json.Decoder(CommandMessage)
_answers = msgspec.json.Decoder(AnswerMessage)


def _decode(decoder: Any, payload: bytes) -> Any:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerUnreadable(f"That is no message about a command: {error}.", "See docs/commands.md.") from None
