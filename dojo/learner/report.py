"""What `kata check` shows when the tests have run."""

from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.text import Text

from dojo.course import progress
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.progress import Record
from dojo.learner.board import Test
from dojo.learner.reference import DEFAULT_ROOT, IMAGES_BEGIN, has_image, root_or
from dojo.learner.run import Request, Run
from dojo.screens import command, counted, lesson, next_steps, of, own_mydocker, say
from dojo.testkit.symptoms import in_common


@dataclass(frozen=True)
class Report:
    """What stands at the end of a check. before: what was remembered before it."""

    catalogue: Catalogue
    request: Request
    run: Run
    before: dict[str, Record]
    console: Console

    def show(self) -> None:
        for name, text in self.run.broken.items():
            self._say("", Text(f"The tests of {name} cannot be run:", "red"), Text(text))
        self._show_what_is_common()
        self._show_red()
        self._show_skipped()
        if self.run.stopped:
            self._say("", Text("Stopped.", "yellow"))
        if self.run.tests:
            self._say("", self._sum(), *self._changes(), "")
            next_steps(self.console, [*self._next(), *self._by_hand()])

    def _show_what_is_common(self) -> None:
        """Say once what many failures have in common: mended there, it is mended in all of them."""
        red = self.run.red
        symptom = in_common([test.symptoms for test in red])
        if symptom is None:
            return
        alike = [test for test in red if symptom in test.symptoms]
        number = of(len(alike), len(red))
        self._say("", Text(f"{number} red tests have this in common: {symptom}.", "yellow"))
        first = alike[0]
        if first is not red[0]:  # which is shown in full below
            self._say(
                f"The first of them: {first.chapter.number} task {first.task}: {first.title}."
            )

    def _show_red(self) -> None:
        red = self.run.red
        shown = red if self.request.everything else red[:1]
        for test in shown:
            self._say("", lesson(self.console, test.text))

    def _show_skipped(self) -> None:
        reasons: dict[str, int] = {}
        for test in self.run.tests.values():
            if test.outcome == "skipped":
                reasons[test.reason] = reasons.get(test.reason, 0) + 1
        if reasons:
            self._say("")
        for reason, number in reasons.items():
            self._say(Text(f"{counted(number, 'test')} skipped: {reason}", "yellow"))

    def _sum(self) -> Text:
        tests = list(self.run.tests.values())
        count = {
            outcome: sum(test.outcome == outcome for test in tests) for outcome in progress.OUTCOMES
        }
        parts = [Text(f"{of(count['passed'], len(tests))} green", "bold green")]
        if count["failed"]:
            parts.append(Text(f"{count['failed']} red", "bold red"))
        if count["skipped"]:
            parts.append(Text(f"{count['skipped']} skipped", "yellow"))
        if count["waiting"]:
            parts.append(Text(f"{count['waiting']} not run", "yellow"))
        line = Text(", ").join(parts)
        hidden = 0 if self.request.everything else max(0, count["failed"] - 1)
        if hidden:
            line += Text(f" ({hidden} of them not shown)")
        return line + Text(".")

    def _changes(self) -> list[Text]:
        """What is different from the last time."""
        lines = []
        tests = [test for test in self.run.tests.values() if test.outcome != "waiting"]
        known = {name: r for record in self.before.values() for name, r in record.results.items()}
        was_green = {name for name, result in known.items() if result.outcome == "passed"}
        compared = [test for test in tests if test.name in known]
        is_green = {test.name for test in compared if test.outcome == "passed"}
        won = len(is_green - was_green)
        more = len(is_green) - sum(test.name in was_green for test in compared)
        lost = [t for t in compared if t.outcome == "failed" and t.name in was_green]
        if more > 0:
            lines.append(Text(f"{more} more than last time.", "green"))
        elif won:
            lines.append(Text(f"{won} newly green.", "green"))
        for test in lost[:_SHOWN_LOST]:
            lines.append(Text(f"Red again: {test.chapter.number} {test.title}", "yellow"))
        if len(lost) > _SHOWN_LOST:
            lines.append(Text(f"Red again: {len(lost) - _SHOWN_LOST} more", "yellow"))
        return lines

    def _next(self) -> list[tuple[str, str]]:
        if self.run.red:
            return self._next_when_red(self.run.red[0])
        if self.run.stopped or self.run.broken:
            return [(self.request.once_more(), "once more")]
        return self._next_when_green(self.request.chapters[-1])

    def _by_hand(self) -> list[tuple[str, str]]:
        """How to run the learner's program, where it can be run: on the machine of the tests."""
        if self.request.mydocker or self.run.lab.where():
            return []
        steps = []
        needs_image = self.request.chapters[-1].order >= IMAGES_BEGIN
        if needs_image and not has_image(root_or(DEFAULT_ROOT)):
            steps.append((command("rootfs", "--import", as_root=True), "an image for yours"))
        return [*steps, (own_mydocker("run", "busybox", "sh"), "yours, by hand")]

    def _next_when_red(self, test: Test) -> list[tuple[str, str]]:
        number = test.chapter.number
        steps = [
            (command("read", number), "the lesson"),
            (command("hint", number), f"a hint for task {max(1, test.task)}"),
        ]
        if len(self.run.red) > 1 and not self.request.everything:
            steps.append((self.request.typed(number, "--all"), "every failure in full"))
        if self.request.mydocker:
            return [*steps, (self.request.typed(number), "once more")]
        return [*steps, (command("watch", number, as_root=True), "again at every save")]

    def _next_when_green(self, chapter: Chapter) -> list[tuple[str, str]]:
        steps = [(command("diff", chapter.number), "how the reference does it")]
        following = self.catalogue.after(chapter)
        if following is None:
            return [*steps, (command("status"), "this was the last chapter: all of them")]
        steps.append((command("read", following.number), f"the next chapter, {following.title}"))
        if self.request.mydocker:
            return [*steps, (self.request.typed(following.number), "its tests")]
        go_on = command("goto", following.number)
        return [*steps, (go_on, "begin it from the reference; yours is saved")]

    def _say(self, *texts: RenderableType) -> None:
        say(self.console, *texts)


_SHOWN_LOST = 3
