"""Where commands are taken, permitted, sent and followed to their end: a state machine without any I/O.

What happened is handed out as records for the journal; a command leaves only after the record that says so is durable,
so that a crash never repeats what it should not: `take_records`, then `committed`, then `take_sends`. A thing gets one
command at a time, the highest priority first; a newer write of the same property takes the place of one that waits.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

from taihu.control.book import Book
from taihu.control.command import Affordance, Command, State, Step
from taihu.control.judge import Judge
from taihu.control.permit import Authority, Permit, Standing
from taihu.control.request import DEADLINE_S, Answer, CommandRefused, Facts, Wanted, Who
from taihu.control.rule import Role, may_repeat
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits

_KEY_MAX = 200
_TEXT_MAX = 1_000
_DEADLINES_MIN = 1_000
_LAST_DEADLINES = 15  # of a command's usual time: for which a thing that is away is waited for, to be let go
_PRIORITY_MAX = 9


class Desk:
    """All commands of a node."""

    def __init__(
        self,
        limits: Limits,
        facts: Facts,
        authority: Authority,
        make_id: Callable[[], str],
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.book = Book(limits)
        self._limits = limits
        self._facts = facts
        self._authority = authority
        self._make_id = make_id
        self._deadline_s = deadline_s  # of a command that says none
        self._records: list[Any] = []
        self._leaving: list[Command] = []  # their `sent` is not durable yet
        self._committing: list[Command] = []
        self._ready: list[Command] = []
        self._deadlines: list[tuple[int, str]] = []
        self._judge = Judge(facts, self.book)
        self._in_flight: dict[tuple[str, str], str] = {}
        self.changed: Callable[[Command, int], None] = lambda command, steps: None
        """Told of a command that has come so many steps further."""

    # What people and programs ask

    def submit(self, wanted: Wanted, who: Who, now: int) -> Command:
        """Take a command over; the one given before when its key was seen already.

        Raises:
            CommandRefused: there is no such affordance, or its input is wrong.
            LimitError: too many commands wait.
        """
        if wanted.key and (known := self.book.by_key(who.project, wanted.key)):
            if (known.thing, known.name, known.input) != (wanted.thing, wanted.name, wanted.input):
                raise CommandRefused(f"The key {wanted.key!r} was used for another command.", "Use a new one.")
            return known
        self._check(wanted, who)
        deadline_s = self._deadline_s if wanted.deadline_s is None else wanted.deadline_s
        deadline = now + int(min(deadline_s, self._limits.command_deadline_max_s) * NS_PER_S)
        command = Command(
            id=self._make_id(), project=who.project, thing=wanted.thing, affordance=wanted.affordance, name=wanted.name,
            input=wanted.input, who=who.name, why=wanted.why, at=now, deadline=deadline, key=wanted.key,
            priority=wanted.priority, standing=wanted.standing, steps=(Step(State.QUEUED, now),),
        )  # fmt: skip
        return self._take(self._begun(command, who.role, now), now)

    def approve(self, number: str, who: Who, now: int) -> Command:
        """A second person agrees to a command that waits for one.

        Raises:
            CommandRefused: it waits for nobody, or for somebody else.
        """
        command = self.book.find(who.project, number)
        if command is None or command.state is not State.QUEUED:
            raise CommandRefused(f"No command {number[:40]!r} waits for approval.", "See: taihu command list")
        if who.name == command.who or who.name in command.approved_by:
            raise CommandRefused("Who gave a command cannot approve it.", "Ask a second person.")
        if any(who.role < rule.role for rule in self._judge.rules(command)):
            raise CommandRefused("This role may not approve it.", "Ask somebody whose role may give it.")
        approved = msgspec.structs.replace(command, approved_by=(*command.approved_by, who.name))
        self.book.put(approved)
        self._records.append(("approved", number, who.name))
        if fault := self._judge.fault(approved, Role.OWNER, now):
            return self._step(approved, State.REFUSED, now, fault)
        self._admit(approved, now)
        self._step(approved, State.PERMITTED, now)
        self._send_next(approved.project, approved.thing, now)
        return self.book.get(number) or approved

    def cancel(self, number: str, who: Who, now: int) -> Command:
        """Take back a command that has not been sent.

        Raises:
            CommandRefused: it was sent, or has ended: what is on its way cannot be taken back.
        """
        command = self.book.find(who.project, number)
        if command is None:
            raise CommandRefused(f"There is no command {number[:40]!r}.", "See: taihu command list")
        if command.state not in (State.QUEUED, State.PERMITTED):
            raise CommandRefused(f"It is {command.state} already.", "Give another that undoes it.")
        return self._step(command, State.REFUSED, now, f"taken back by {who.name}")

    def grant(self, standing: Standing, now: int) -> None:
        """Let a loop act inside a corridor; raises LimitError."""
        most = self._limits.standing_permits_per_project_max
        if self.book.standing_count(standing.project) >= most:
            for old in self.book.standing_of(standing.project):  # what has ended makes room
                if old.expires_at <= now:
                    self._end(old)
        if self.book.standing_count(standing.project) >= most:
            raise LimitError("The project has as many standing permits as it may.", "Withdraw some.")
        self.book.hold(standing)
        self._records.append(("standing", standing))
        self._await(standing.expires_at, standing.id)

    def withdraw(self, project: str, number: str, by: str, now: int) -> bool:
        """End a standing permit at once; False when there is none.

        What it drove is told the permit's `rest`, unless its holder gives it back: he has told what he will.
        """
        standing = self.book.standings.get(number)
        if standing is None or standing.project != project:
            return False
        self._end(standing)
        if by != standing.holder:
            self._let_go(standing, by, f"the standing permit {number} was withdrawn", now)
        return True

    # What carriers and the clock tell

    def contact(self, project: str, thing: str, now: int) -> None:
        """The thing can be reached: send what waits, one at a time."""
        self._send_next(project, thing, now)

    def told(self, number: str, answer: Answer, now: int, detail: str = "", result: Any = None) -> None:
        """A carrier says what became of a command; what comes too late, or twice, changes nothing."""
        command = self.book.get(number)
        if command is None or command.state not in (State.SENT, State.ACKNOWLEDGED, State.UNCONFIRMED):
            return
        if answer is Answer.LOST:
            self._lost(command, now, detail or "the connection was lost before an answer")
        elif answer in (Answer.RECEIVED, Answer.ACKNOWLEDGED):
            if command.state is State.SENT:
                self._step(command, State.ACKNOWLEDGED, now, detail, result)
                if answer is Answer.ACKNOWLEDGED:  # else the next waits for its answer
                    self._land(command, now)
        elif answer is Answer.TAKEN:
            self._land(command, now)
        elif answer is Answer.UNCONFIRMED:
            if command.state is State.SENT:
                self._step(command, State.UNCONFIRMED, now, detail or "the device gives no answer")
                self._land(command, now)
        else:
            self._step(command, State(answer.value), now, detail, result)

    def observed(self, project: str, thing: str, name: str, value: Any, at: int, now: int) -> None:
        """A reading came: it may confirm what a device did not answer."""
        for command in list(self.book.unconfirmed(project, thing)):
            sent = command.when(State.SENT)
            for rule in self._judge.rules(command):
                confirm = rule.confirm
                if confirm is None or confirm.name != name or sent is None or at < sent:
                    continue
                if _agree(value, command.input, confirm.tolerance):
                    self._step(command, State.DONE, now, f"{name} reads back as {value}", value)
                    break

    def tick(self, now: int) -> None:
        """End what has reached its deadline."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number = heappop(self._deadlines)
            if (standing := self.book.standings.get(number)) is not None:
                self._let_go(standing, standing.issued_by, f"the standing permit {number} has expired", now)
            command = self.book.get(number)
            if command is None or command.ended:
                continue
            why = {
                State.SENT: "the device gave no answer",
                State.UNCONFIRMED: "sent, and never confirmed",
                State.ACKNOWLEDGED: "the device has it and did not say that it was done",
                State.QUEUED: "nobody approved it",
            }.get(command.state, "the device made no contact")
            self._step(command, State.EXPIRED, now, why)

    def next_timer(self) -> int | None:
        """When `tick` has something to do (UTC ns); None for never."""
        return self._deadlines[0][0] if self._deadlines else None

    # What the journal and the carriers take

    @property
    def pending(self) -> bool:
        """Whether there are records for the next group commit."""
        return bool(self._records)

    def take_records(self) -> list[bytes]:
        """What happened since the last call, for the journal."""
        records, self._records = self._records, []
        self._committing += self._leaving
        self._leaving = []
        return [_encode(record) for record in records]

    def committed(self) -> None:
        """What was taken survives power loss: what it says is sent may go."""
        self._ready += self._committing
        self._committing = []

    def take_sends(self, now: int) -> list[tuple[Command, Permit]]:
        """Commands to hand to their carriers now, each with its permit; none whose time has come meanwhile."""
        self.tick(now)
        ready, self._ready = self._ready, []
        known = map(self.book.get, dict.fromkeys(command.id for command in ready))
        return [(each, self._authority.permit(each)) for each in known if each and each.state is State.SENT]

    def apply(self, record: bytes) -> None:
        """Replay a record of the journal, from any position before the snapshot on."""
        self.book.apply(_decode(record))

    def resume(self, now: int) -> None:
        """After replay: what was on its way when the node stopped is sent again only if that does no harm."""
        for standing in self.book.standings.values():
            self._await(standing.expires_at, standing.id)
        for command in list(self.book.open()):
            self._await(command.deadline, command.id)
            if command.state is State.SENT:
                self._in_flight[command.project, command.thing] = command.id
                self._lost(command, now, "the node stopped before the device answered")
        self.tick(now)

    # What happens inside

    def _await(self, at: int, number: str) -> None:
        """Note when a command or permit ends; those of what has ended before are forgotten before they are many."""
        heappush(self._deadlines, (at, number))
        if len(self._deadlines) > _DEADLINES_MIN + 2 * (self.book.open_total + len(self.book.standings)):
            self._deadlines = [(one.deadline, one.id) for one in self.book.open()]
            self._deadlines += [(one.expires_at, one.id) for one in self.book.standings.values()]
            heapify(self._deadlines)

    def _check(self, wanted: Wanted, who: Who) -> None:
        if fault := self._facts.fault(who.project, wanted):
            known = f"See: taihu things {who.project}, and what one has: taihu read {who.project}/THING"
            raise CommandRefused(fault, known)
        if (wanted.deadline_s is not None and not wanted.deadline_s > 0) or not 0 <= wanted.priority <= _PRIORITY_MAX:
            raise CommandRefused("The deadline or the priority is no number it can be.", "Priorities are 0 to 9.")
        if len(wanted.key) > _KEY_MAX or len(wanted.why) > _TEXT_MAX:
            raise CommandRefused(
                "The key or the reason is too long.", f"At most {_KEY_MAX} and {_TEXT_MAX} characters."
            )
        size = len(msgspec.msgpack.encode(wanted.input))
        if size > self._limits.command_input_bytes_max:
            raise LimitError(f"The input has {size} bytes.", "See limits.command_input_bytes_max.")
        of_thing, of_project = self.book.open_of(who.project, wanted.thing), self.book.open_count(who.project)
        if len(of_thing) >= self._limits.commands_open_per_thing_max:
            raise LimitError(f"{len(of_thing)} commands wait for {wanted.thing}.", "Wait, or take some back.")
        if of_project >= self._limits.commands_open_per_project_max:
            raise LimitError(f"{of_project} commands of the project are open.", "Wait, or take some back.")

    def _take(self, command: Command, now: int) -> Command:
        """Keep a new command as far as it has come."""
        self.book.put(command)
        self._records.append(("command", command))
        self._await(command.deadline, command.id)
        self.changed(command, len(command.steps))
        self._send_next(command.project, command.thing, now)
        return self.book.get(command.id) or command

    def _end(self, standing: Standing) -> None:
        self.book.end(standing.id)
        self._records.append(("withdrawn", standing.id))

    def _let_go(self, standing: Standing, who: str, why: str, now: int) -> None:
        """The last command under a permit that has ended, to each thing that it drove: limits and interlocks hold."""
        deadline = now + int(_LAST_DEADLINES * self._deadline_s * NS_PER_S)
        for thing in self.book.driven.things(standing, self.book.standings):
            command = Command(
                id=self._make_id(), project=standing.project, thing=thing, affordance=Affordance.PROPERTY,
                name=standing.name, input=standing.rest, who=who, why=why, at=now, deadline=deadline,
                priority=_PRIORITY_MAX, standing=standing.id, last=True, steps=(Step(State.QUEUED, now),),
            )  # fmt: skip
            wanted = Wanted(thing=thing, affordance=command.affordance, name=command.name, input=command.input)
            if fault := self._facts.fault(standing.project, wanted):
                self._take(command.step(State.REFUSED, now, fault[:_TEXT_MAX]), now)
            else:
                self._take(self._begun(command, Role.OPERATOR, now), now)

    def _begun(self, command: Command, role: Role, now: int) -> Command:
        """A new command as far as it comes at once: refused, waiting for a second person, permitted, or sent."""
        if fault := self._judge.fault(command, role, now):
            return command.step(State.REFUSED, now, fault[:_TEXT_MAX])
        if self._judge.waits(command):
            return command
        self._admit(command, now)
        permitted, key = command.step(State.PERMITTED, now), (command.project, command.thing)
        if key in self._in_flight or self.book.open_of(*key) or not self._facts.reachable(*key):
            return permitted
        return self._leave(permitted, now)

    def _admit(self, command: Command, now: int) -> None:
        self._judge.admit(command, now)
        self._supersede(command, now)

    def _leave(self, command: Command, now: int) -> Command:
        """It is sent, as soon as that is durable."""
        sent = command.step(State.SENT, now)
        self._in_flight[command.project, command.thing] = command.id
        self._leaving.append(sent)
        return sent

    def _supersede(self, command: Command, now: int) -> None:
        """A newer write of a property takes the place of those that still wait: a thing that wakes gets the last."""
        if command.affordance is not Affordance.PROPERTY:
            return
        for other in list(self.book.open_of(command.project, command.thing)):
            same = (other.affordance, other.name) == (command.affordance, command.name) and other.id != command.id
            if same and other.state is State.PERMITTED:
                self._step(other, State.EXPIRED, now, f"superseded by {command.id}")

    def _send_next(self, project: str, thing: str, now: int) -> None:
        """Send the first of what waits for a thing, if it can be reached and has nothing in hand."""
        while (project, thing) not in self._in_flight:
            waiting = [each for each in self.book.open_of(project, thing) if each.state is State.PERMITTED]
            if not waiting or not self._facts.reachable(project, thing):
                return
            first = min(waiting, key=lambda each: (-each.priority, each.at, each.id))
            if fault := self._judge.leaving_fault(first):
                self._step(first, State.REFUSED, now, fault)
            else:
                self._note(self._leave(first, now), now)

    def _lost(self, command: Command, now: int, why: str) -> None:
        rules = self._judge.rules(command)
        tries = sum(step.state is State.SENT for step in command.steps)
        again = 1 if command.affordance is Affordance.PROPERTY else 0
        allowed = max([again, *(rule.retries for rule in rules)])
        self._land(command, now, send=False)
        if command.state is State.SENT and may_repeat(rules, command) and tries <= allowed and now < command.deadline:
            self._step(command, State.PERMITTED, now, f"{why}; it will be sent again")
            self._send_next(command.project, command.thing, now)
        elif command.state is State.SENT:
            self._step(command, State.UNCONFIRMED, now, why)

    def _land(self, command: Command, now: int, *, send: bool = True) -> None:
        """The thing's connection is free for the next."""
        key = (command.project, command.thing)
        if self._in_flight.get(key) == command.id:
            del self._in_flight[key]
            if send:
                self._send_next(*key, now)

    def _step(self, command: Command, state: State, now: int, detail: str = "", result: Any = None) -> Command:
        moved = command.step(state, now, detail[:_TEXT_MAX], result)
        self._note(moved, now)
        return moved

    def _note(self, moved: Command, now: int) -> None:
        """Keep a command that has come one step further."""
        self.book.put(moved)
        self._records.append(("step", moved.id, len(moved.steps) - 1, moved.steps[-1]))
        self.changed(moved, 1)
        if moved.ended:
            self._land(moved, now)


def records_of(desk: Desk) -> Iterator[bytes]:
    """All that is known, as records that `apply` takes: a snapshot."""
    for standing in desk.book.standings.values():
        yield _encode(("standing", standing))
    for command in desk.book.everything():
        yield _encode(("command", command))
    yield _encode(("driven", desk.book.driven.state()))


def _agree(value: Any, wanted: Any, tolerance: float) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, wanted))
    return abs(value - wanted) <= tolerance if numbers else bool(value == wanted)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
