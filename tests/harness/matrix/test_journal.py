"""Whatever happens to the file, what is whole in it counts, and a run that goes on ends with the same."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.matrix.journal import Journal, JournalError
from harness.matrix.question import Question, build_question
from harness.matrix.result import FlowResult
from harness.model import Outcome
from tests.harness.matrix.samples import RESULTS, environment, result, tcp


def question_of(results: list[FlowResult]) -> Question:
    rows = {found.flow.source: () for found in results}
    for found in results:
        rows[found.flow.source] += (found.flow,)  # type: ignore[assignment]
    return Question(tuple(rows), tuple({found.flow.target for found in results}), rows)


UNIQUE = st.lists(RESULTS, min_size=1, max_size=6, unique_by=lambda found: found.flow)


@settings(max_examples=200)
@given(UNIQUE, st.data())
def test_any_cut_resumes_to_the_same_result(results: list[FlowResult], data: st.DataObject) -> None:
    question = question_of(results)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal"
        with Journal(path, question) as journal:
            journal.append(results)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        with Journal(path, question) as journal:
            known = dict(journal.done)
            assert list(known.values()) == results[: len(known)]
            journal.append(found for found in results if found.flow not in known)
        assert path.read_bytes() == whole
        with Journal(path, question) as journal:
            assert list(journal.done.values()) == results


@pytest.fixture
def question() -> Question:
    return build_question(environment(), ports=tcp(22, 80))


def test_a_tail_of_zeros_is_torn_too(tmp_path: Path, question: Question) -> None:
    path = tmp_path / "journal"
    flows = list(question.flows())
    with Journal(path, question) as journal:
        journal.append([result(flows[0])])
    path.write_bytes(path.read_bytes() + bytes(100))
    with Journal(path, question) as journal:
        assert list(journal.done) == flows[:1]
        journal.append([result(flows[1], Outcome.TIMEOUT)])
    with Journal(path, question) as journal:
        assert list(journal.done) == flows[:2]


def test_a_later_result_of_a_flow_counts(tmp_path: Path, question: Question) -> None:
    flow = next(question.flows())
    with Journal(tmp_path / "journal", question) as journal:
        journal.append([result(flow), result(flow, Outcome.REFUSED)])
        assert journal.has_results
    with Journal(tmp_path / "journal", question) as journal:
        assert journal.done[flow].outcome is Outcome.REFUSED


@pytest.mark.parametrize("content", ["notes without a line end", "one\ntwo\n", "{}\n", "\n"])
def test_other_peoples_files_are_left_alone(tmp_path: Path, question: Question, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=r"notes\.txt: not the journal of a matrix"):
        Journal(path, question)
    assert path.read_text() == content


def test_another_matrix(tmp_path: Path, question: Question) -> None:
    path = tmp_path / "journal"
    Journal(path, question).close()
    with pytest.raises(InputError, match="the journal of another matrix"):
        Journal(path, build_question(environment(), ports=tcp(22)))


def test_damage_before_the_end_names_the_line(tmp_path: Path, question: Question) -> None:
    path = tmp_path / "journal"
    with Journal(path, question) as journal:
        journal.append(result(flow) for flow in question.flows())
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3][:20] + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"journal:4: this line is damaged"):
        Journal(path, question)


@given(st.binary(max_size=60))
def test_garbage_in_a_line_is_one_error(garbage: bytes) -> None:
    question = build_question(environment(), ports=tcp(22))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal"
        Journal(path, question).close()
        path.write_bytes(path.read_bytes() + garbage + b"\n")
        with pytest.raises(InputError, match=r"journal:\d+: this line is damaged"):
            Journal(path, question)


def test_one_run_at_a_time(tmp_path: Path, question: Question) -> None:
    path = tmp_path / "journal"
    with (
        Journal(path, question),
        pytest.raises(InputError, match="another run is writing it"),
    ):
        Journal(path, question)
    Journal(path, question).close()


@pytest.mark.parametrize("path", ["/dev/null", "/", "/no/such/folder/journal"])
def test_places_that_cannot_be_a_journal(path: str, question: Question) -> None:
    with pytest.raises(InputError, match=path):
        Journal(Path(path), question)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, question: Question) -> None:
    """The kernel refuses in the middle of a line, as it does when a disk is full."""
    path = tmp_path / "journal"
    results = [result(flow) for flow in question.flows()]
    with Journal(path, question) as journal:
        journal.append(results[:3])
        whole = path.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 50, hard))
        try:
            with pytest.raises(JournalError, match="the results so far are safe in it") as caught:
                journal.append(results[3:])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"--resume {path}" in caught.value.hint
    assert path.read_bytes() == whole
    with Journal(path, question) as journal:
        assert list(journal.done.values()) == results[:3]
