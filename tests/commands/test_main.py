"""The command line's frame: what each ending prints, where, and with which exit status."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import numpy as np
import pytest

from tests.commands.shout import Shout
from tests.commands.shout import run as run_shout
from unfreeze import __version__
from unfreeze.commands import main as frame
from unfreeze.commands.arguments import one_line, parse, split_docstring
from unfreeze.commands.console import Console, plain
from unfreeze.commands.main import VERBS, load_verb, main, overview
from unfreeze.commands.progress import LoggedProgress, TerminalProgress
from unfreeze.display import aligned

SHOUT = (
    "import sys; from tests.commands import shout; sys.modules['unfreeze.commands.shout'] = shout; "
    "from unfreeze.commands import main as m; m.VERBS['shout'] = 'say it louder'; "
)
"""Adds the verb "shout" to those of a process."""
ROOT = Path(__file__).parents[2]
DEBUG_HINT = "run again with --debug to see where, and please report it"


@pytest.fixture
def shout(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A verb "shout" and a verb of two words, "cry wolf", beside the real ones; logging as it was afterwards."""
    logger = logging.getLogger("unfreeze")
    before = (logger.handlers[:], logger.level, logger.propagate)
    monkeypatch.setattr(frame, "VERBS", {**VERBS, "shout": "say it louder", "cry wolf": "say it louder"})
    cry_wolf = SimpleNamespace(CryWolf=Shout, run=run_shout)
    for name, module in {"shout": sys.modules[Shout.__module__], "cry_wolf": cry_wolf}.items():
        monkeypatch.setitem(sys.modules, f"unfreeze.commands.{name}", cast(ModuleType, module))
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def outcome(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of one command line, without "unfreeze"."""
    status = main(shlex.split(line))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def process(
    line: str, *, stdout: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own."""
    program = f"{SHOUT}sys.exit(m.main({shlex.split(line)!r}))"
    return subprocess.run(
        [sys.executable, "-c", program],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("line", ["--help", "-h", "help", ""])
def test_overview_lists_every_verb(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = outcome(line, capsys)
    assert (status, err) == (0, "")
    assert all(f"  {name} " in out and summary in out for name, summary in VERBS.items())


def test_overview_of_the_verbs_that_begin_alike(capsys: pytest.CaptureFixture[str], shout: None) -> None:
    status, out, _ = outcome("cry --help", capsys)
    assert status == 0
    assert "cry wolf" in out and "shout" not in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("--version", capsys) == (0, f"unfreeze {__version__}\n", "")


@pytest.mark.parametrize("line", ["cry wolf --help", "cry wolf now -h", "help cry wolf"])
def test_help_of_a_verb_ends_with_its_example(
    line: str, capsys: pytest.CaptureFixture[str], shout: None
) -> None:
    status, out, err = outcome(line, capsys)
    assert (status, err) == (0, "")
    assert "usage: unfreeze cry wolf" in out
    assert "--times INT" in out and "How often. (default: 1)" in out
    assert "How fast." in out and "default: None" not in out and "default: )" not in out
    assert out.endswith("example:\n    unfreeze shout hello --output here --times 2\n")


@pytest.mark.parametrize("name", VERBS)
def test_example_of_every_verb_is_accepted(name: str) -> None:
    kind, run = load_verb(name)
    example = split_docstring(kind)[1]
    lines = [line.strip() for line in example.replace("\\\n", " ").splitlines() if line.strip()]
    assert callable(run) and lines
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[: 1 + len(name.split())] == ["unfreeze", *name.split()]
        assert parse(kind, words[1 + len(name.split()) :], f"unfreeze {name}") is not None


@pytest.mark.parametrize("name", VERBS)
def test_help_fits_the_terminal_and_breaks_no_line_where_the_source_does(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    _, out, _ = outcome(f"{name} --help", capsys)
    usage, description = out.split("\n\n")[:2]
    assert usage.startswith(f"usage: unfreeze {name}") and not description.startswith(" ")
    shown = out.partition("\nevery verb:")[0].splitlines()
    assert max(map(len, shown)) <= 100
    # Within a paragraph, a line ends where the next word would not fit.
    for paragraph in re.split(r"\n.* (?:positional arguments|options) ", out)[0].split("\n\n")[1:]:
        lines = paragraph.strip().splitlines()
        for line, following in pairwise(lines):
            assert len(line) + 1 + len(following.split()[0]) > 100, line


def test_help_imports_neither_torch_nor_numba() -> None:
    """A verb's help imports its file: all of them, in one process."""
    program = f"""
import contextlib, io, sys
from unfreeze.commands.main import main
for line in {["--help", *(f"{name} --help" for name in VERBS)]!r}:
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert main(line.split()) == 0, line
    assert "STR|" not in shown.getvalue(), line  # a name or a path is any word
print([name for name in ("torch", "numba", "sklearn", "matplotlib", "PIL", "transformers") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shuot x", "unknown verb 'shuot'; did you mean 'shout'?"),
        ("wolf", "unknown verb 'wolf'; did you mean 'cry wolf'?"),
        ("finetune", "unknown verb 'finetune'; did you mean 'adapt'?"),
        ("xyzzy", "unknown verb 'xyzzy' (unfreeze --help lists the verbs)"),
        ("cry", "cry what? say 'unfreeze cry wolf'"),
        ("cry wlof", "cannot cry 'wlof'; did you mean 'wolf'? (unfreeze cry --help lists them)"),
        ("cry out", "cannot cry 'out'; say 'unfreeze cry wolf'"),
        (
            "fit classifer",
            "cannot fit 'classifer'; did you mean 'classifier'? (unfreeze fit --help lists them)",
        ),
        ("pretrain word2vek", "cannot pretrain 'word2vek'; did you mean 'word2vec'?"),
        (
            "shout x --tmies 2",
            "unknown option '--tmies'; did you mean '--times'? (see unfreeze shout --help)",
        ),
        (
            "shout x --outptu=y",
            "unknown option '--outptu'; did you mean '--output'? (see unfreeze shout --help)",
        ),
        ("shout x --no-json", "unknown option '--no-json'"),
        ("shout", "missing TEXT, --output PATH; see unfreeze shout --help"),
        ("shout x", "missing --output PATH; see unfreeze shout --help"),
        ("shout x --output", "--output needs a value; see unfreeze shout --help"),
        ("shout x --output y --times two", "--times takes INT, not 'two'; see unfreeze shout --help"),
        ("shout x --output y --rate fast", "--rate takes FLOAT, not 'fast'; see unfreeze shout --help"),
        (
            "shout x --output y --how loud",
            "--how takes say",
        ),
        ("shout x --output y --times 0", "--times must be at least 1, not 0; see unfreeze shout --help"),
    ],
)
def test_a_mistyped_line_gets_one_line(
    line: str, said: str, capsys: pytest.CaptureFixture[str], shout: None
) -> None:
    status, out, err = outcome(line, capsys)
    assert (status, out) == (2, "")
    assert err.startswith(f"unfreeze: {said}")
    assert err.count("\n") == 1


def test_a_mistyped_line_gets_one_line_in_a_terminal_with_unicode() -> None:
    done = process("shout x --output y --rate fast", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "unfreeze: --rate takes FLOAT, not 'fast'; see unfreeze shout --help\n"


def test_of_processes_started_together_the_first_says_what_is_wrong() -> None:
    first, second = (process("shout x --output y --rate fast", RANK=rank) for rank in "01")
    assert (first.returncode, first.stderr.count("\n")) == (2, 1)
    assert (second.returncode, second.stdout, second.stderr) == (2, "", "")


def test_options_may_be_spelled_with_underscores_and_texts_may_begin_with_dashes(
    capsys: pytest.CaptureFixture[str], shout: None
) -> None:
    assert outcome("shout --output=y --no_louder -- --odd", capsys)[:2] == (0, "--odd\n")


@pytest.mark.parametrize(
    "box",
    [
        "╭─ Missing argument ─╮\n│ Missing value for  │\n│ --output.          │\n│ ────────────────── │\n│ see --help │\n╰──╯",
        " Missing argument \n ---------------- \n  Missing value for  \n  --output.  \n  -------------- \n  see --help  \n",
        "\x1b[31m╭─\x1b[0m Missing argument ─╮\n│ Missing value for --output. │\n╰────────────╯\n",
        "Missing value for --output.",
    ],
)
def test_reports_of_any_form_become_one_line(box: str) -> None:
    assert one_line(box) == "Missing value for --output"


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("mistake", 2, "unfreeze: reviews.csv, line 3: column 'label' is missing\n"),
        ("file", 2, "unfreeze: reviews.csv: No such file or directory\n"),
        ("ctrl-c", 130, "unfreeze: interrupted; rerun the command to start again or resume\n"),
        ("resumable", 130, "unfreeze: stopped after 7 steps; rerun the command to resume\n"),
        ("bug", 1, f"unfreeze: internal error (ZeroDivisionError: division by zero); {DEBUG_HINT}\n"),
    ],
)
def test_every_ending_has_its_status_and_one_line(
    how: str, status: int, said: str, capsys: pytest.CaptureFixture[str], shout: None
) -> None:
    assert outcome(f"shout x --output y --how {how}", capsys) == (status, "", said)
    with_debug = outcome(f"shout x --output y --how {how} --debug", capsys)
    assert with_debug[0] == status
    assert with_debug[2].startswith("Traceback") and with_debug[2].endswith(said)


def test_json_puts_objects_on_standard_output_and_nothing_else(
    capsys: pytest.CaptureFixture[str], shout: None
) -> None:
    status, out, err = outcome("shout héllo --output y --times 2 --rate nan --json", capsys)
    assert status == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"said": "HÉLLO", "number": 0, "rate": None},
        {"said": "HÉLLO", "number": 1, "rate": None},
    ]
    assert err == "said to y\n"


@pytest.mark.parametrize(
    "line", ["--json shout x --output y", "shout --json x --output y", "shout x --output y --json"]
)
def test_common_options_may_stand_anywhere(
    line: str, capsys: pytest.CaptureFixture[str], shout: None
) -> None:
    assert json.loads(outcome(line, capsys)[1])["said"] == "X"


def test_after_two_dashes_nothing_is_an_option(capsys: pytest.CaptureFixture[str], shout: None) -> None:
    assert outcome("shout --output y -- --json", capsys)[:2] == (0, "--JSON\n")


def test_quiet_leaves_results_alone(capsys: pytest.CaptureFixture[str], shout: None) -> None:
    assert outcome("shout hello --output y --quiet", capsys) == (0, "HELLO\n", "")


def test_only_the_first_process_speaks(
    capsys: pytest.CaptureFixture[str], shout: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert outcome("shout hello --output y", capsys) == (0, "", "")


def test_an_output_without_unicode_gets_escapes() -> None:
    line = "shout '☃ snow' --output y --no-louder"
    text = process(line, PYTHONIOENCODING="ascii")
    assert (text.returncode, text.stdout) == (0, "\\u2603 snow\n")
    as_json = process(f"{line} --json", PYTHONIOENCODING="ascii")
    assert json.loads(as_json.stdout)["said"] == "☃ snow"
    with_help = process("shout --help", PYTHONIOENCODING="latin-1")
    assert (with_help.returncode, with_help.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = process("shout x --output y --times 30000 --quiet", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = process("shout x --output y --quiet", stdout=full.fileno())
    assert (done.returncode, done.stderr) == (2, "unfreeze: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_where_standard_error_is_full_the_status_is_left() -> None:
    program = "import sys; from unfreeze.commands.main import main; sys.exit(main(['nothing']))"
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([sys.executable, "-c", program], stderr=full, timeout=60, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("closed", "status", "out", "err"),
    [
        (">&-", 0, "", "said to y\n"),
        ("2>&-", 0, "X\n", ""),
        ("<&- >&- 2>&-", 0, "", ""),
    ],
)
def test_standard_streams_may_be_closed(closed: str, status: int, out: str, err: str) -> None:
    program = SHOUT + (
        "status = m.main(['shout', 'x', '--output', 'y']); file = open('/dev/null'); sys.exit(status or file.fileno() < 3)"
    )
    line = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(program)} {closed}"
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, out, err)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shout caf\udce9 --output y", "'caf\\xe9' is not UTF-8 (byte 0xe9): "),
        ("shout x --output out\udcff", "'out\\xff' is not UTF-8 (byte 0xff): "),
        ("shout x --output=\udc80", "'--output=\\x80' is not UTF-8 (byte 0x80): "),
        ("fit classifier --train \udce9.csv --output y", "'\\xe9.csv' is not UTF-8 (byte 0xe9): "),
    ],
)
def test_words_that_are_not_utf8_are_refused_before_anything_begins(
    line: str, said: str, capsys: pytest.CaptureFixture[str], shout: None
) -> None:
    status, out, err = outcome(line, capsys)
    assert (status, out) == (2, "")
    assert err == f"unfreeze: {said}rename the file, or write the text in UTF-8\n"


EARLY = """
import os, signal, sys
class Interrupting:  # Ctrl-C while the module is looked for
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["unfreeze", {word!r}]
from unfreeze.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("module", "word"),
    [("unfreeze.commands.main", "--help"), ("tyro", "--help"), ("unfreeze.commands.demo", "demo")],
)
def test_ctrl_c_while_everything_is_imported_is_one_line(module: str, word: str) -> None:
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # as in a terminal
    program = listening + EARLY.format(module=module, word=word)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    said = "unfreeze: interrupted; rerun the command to start again or resume\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)


def test_ctrl_c_that_the_caller_ignores_is_ignored() -> None:
    program = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + EARLY.format(
        module="tyro", word="--version"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"unfreeze {__version__}\n")


def test_python_dash_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unfreeze", "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, f"unfreeze {__version__}\n")


def test_plain_knows_arrays_paths_and_missing_numbers() -> None:
    values = {
        "a": np.float32(0.5),
        "b": np.arange(3),
        "c": Path("x/y"),
        "d": (float("inf"), 2),
        5: {"e": np.nan},
    }
    assert plain(values) == {"a": 0.5, "b": [0, 1, 2], "c": "x/y", "d": [None, 2], "5": {"e": None}}


def test_table_is_aligned_or_one_object_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"method": "TF-IDF", "accuracy": 72.04}, {"method": "transfer", "accuracy": None}]
    assert aligned(rows) == "method    accuracy\nTF-IDF       72.04\ntransfer         -"
    Console(json=True).table(rows)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows


def ticking(seconds: Sequence[float]) -> LoggedProgress:
    """Progress that logs every 30 seconds of a clock that shows these times one after the other."""
    return LoggedProgress(every=30, clock=iter(seconds).__next__)


def test_background_runs_log_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "unfreeze"),
        ticking([0, 10, 40, 50, 75, 80]).bar("adapting", 2000, "batch") as bar,
    ):
        for _ in range(4):
            bar.advance(250, loss=4.321)
    assert [record.getMessage() for record in caplog.records] == [
        "adapting: 500/2,000 batches (25 %), loss 4.321, 3 minutes left",
        "adapting: 1,000/2,000 batches (50 %), loss 4.321, 70 seconds left",
        "adapting: 1,000 batches in 80 seconds, loss 4.321",
    ]


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (
            1,
            "pairs: 101/300 pairs (34 %), 60 seconds left",
        ),  # the first was slow: the loops were being compiled
        (200, "pairs: 300/300 pairs (100 %), 0 seconds left"),  # the run goes on: 200 were done before
    ],
)
def test_what_is_left_follows_from_the_speed_now(
    first: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "unfreeze"),
        ticking([0, 29, 59, 60]).bar("pairs", 300, "pair") as bar,
    ):
        bar.advance(first)
        bar.advance(100)
    assert caplog.messages[0] == said


def test_nothing_is_said_of_what_is_left_before_the_speed_is_known(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "unfreeze"), ticking([0, 31, 32]).bar("pairs", 300, "pair") as bar:
        bar.advance(1)
    assert caplog.messages[0] == "pairs: 1/300 pairs (0 %)"


def test_short_work_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "unfreeze"), ticking([0, 29]).bar("reading") as bar:
        bar.advance()
    assert not caplog.records


def test_terminals_get_a_bar_with_the_latest_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with TerminalProgress(every=0).bar("adapting", total=3, unit="batches") as bar:
        for number in range(3):
            bar.advance(loss=number / 3)
    assert "adapting" in screen.getvalue() and "3.00/3.00" in screen.getvalue()
    assert "loss 0.3333" in screen.getvalue()


def test_overview_is_short() -> None:
    assert max(len(line) for line in overview().splitlines()) <= 100
