"""The report for people and its document."""

from __future__ import annotations

from harness.doctor.document import DoctorDocument, doctor_document
from harness.doctor.model import HERE, Check, CheckResult, Cure, Limit, MachineReport, Problem, Report, Status
from harness.doctor.show import detail_lines, table_lines
from harness.model import Step


def report_of(*statuses: Status, problems: tuple[Problem, ...] = (), name: str = "web-01") -> Report:
    machines = tuple(
        MachineReport(
            f"{name}-{number}",
            "u@h:22",
            tuple(
                CheckResult(
                    check, status if check is Check.CLOCK else Status.OK, "x", "why", (Cure(HERE, "do it"),)
                )
                for check in Check
            ),
            (Limit(Step.LISTENER, "see", "dark"),),
        )
        for number, status in enumerate(statuses)
    )
    return Report(machines, problems)


def test_exit_status() -> None:
    assert report_of(Status.OK, Status.OK).exit_status == 0
    assert report_of(Status.OK, Status.UNKNOWN).exit_status == 0
    assert report_of(Status.OK, Status.WARNING).exit_status == 1
    assert report_of(Status.FAILED, Status.WARNING).exit_status == 2
    assert report_of(Status.OK, problems=(Problem(Status.WARNING, ""),)).exit_status == 1
    assert report_of(Status.OK, problems=(Problem(Status.FAILED, ""),)).exit_status == 2


def test_the_table_is_aligned_and_the_details_say_everything() -> None:
    report = report_of(*[Status.WARNING] * 9, Status.FAILED)
    rows = table_lines(report)
    assert len(rows) == 11
    assert len({row.index("x") for row in rows[1:]}) == 1
    lines = [line for line, _ in detail_lines(report)]
    assert "  clock: FAILED: why" in lines
    assert lines.count("    here: do it") == 10
    assert any(
        line.startswith("  listener: cannot see (dark): web-01-0") and "and 4 more" in line for line in lines
    )
    assert lines[-1] == "10 machines: 0 fine, 9 with something missing, 1 unusable"


def test_names_that_misbehave_stay_text() -> None:
    report = report_of(Status.FAILED, name="a\x1b[31m\u202e\n")
    text = "\n".join([*table_lines(report), *(line for line, _ in detail_lines(report))])
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "a\\x1b[31m\\u202e\\x0a-0" in text


def test_the_document() -> None:
    report = report_of(Status.WARNING, problems=(Problem(Status.WARNING, "p", (Cure(HERE, "c"),)),))
    text = doctor_document(report).model_dump_json()
    document = DoctorDocument.model_validate_json(text)
    assert (document.exit_status, document.machines[0].usable) == (1, True)
    assert [check.check for check in document.machines[0].checks] == [check.value for check in Check]
    assert document.problems[0].cures[0].command == "c"
