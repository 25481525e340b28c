"""Settings: which layer wins, what is refused and how, and that plain command lines stay so."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.cli import arguments, flags, run_flags, settings
from hpcq.cli import main as cli
from hpcq.cli import setting_sources as sources
from hpcq.cli.job_commands import submitted_command
from hpcq.cli.main import main
from hpcq.cli.old_spellings import OldSpellings
from hpcq.core.errors import InputError
from tests.support.launch import ROOT, run

COMMANDS = dict.fromkeys(cli.COMMANDS, lambda _: 0)
Resolve = Callable[..., argparse.Namespace]


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("HPCQ_") and name != "HPCQ_CALIBRATION":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sources, "_SYSTEM_SITE_FILE", tmp_path / "etc" / "site.toml")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Return what resolves flags, a job file, a site file, and variables to options."""

    def resolved(
        *flags: str, job: str | None = None, site: str = "", command: str = "run", **variables: str
    ) -> argparse.Namespace:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if site:
            (tmp_path / "config" / "hpcq").mkdir(parents=True, exist_ok=True)
            (tmp_path / "config" / "hpcq" / "site.toml").write_text(site)
        if job is not None:
            (tmp_path / "job.toml").write_text(f'circuit = "c.qasm"\n{job}')
        words = [command, "c.qasm" if job is None else "job.toml", *flags]
        return arguments.parse(words, COMMANDS)

    return resolved


def test_each_layer_gives_way_to_the_next(resolve: Resolve) -> None:
    site = "seed = 1\nthreads = 1\nmemory = '1G'\nranks = 1\n"
    job = "seed = 2\nthreads = 2\nmemory = '2G'\n"
    variables = {"HPCQ_SEED": "3", "HPCQ_THREADS": "3"}
    options = resolve("--seed", "4", job=job, site=site, **variables)
    assert (options.seed, options.threads, options.memory, options.ranks) == (4, 3, "2G", 1)
    assert options.read_seconds == 4  # nobody says
    assert options.circuit == "c.qasm"


def test_without_a_job_file_site_and_environment_count_all_the_same(resolve: Resolve) -> None:
    options = resolve(site="seed = 1\ndevice = 'cpu'", HPCQ_SEED="3", HPCQ_OUTPUT="o.h5")
    assert (options.seed, options.device, options.output) == (3, "cpu", "o.h5")


def test_names_may_have_either_dash_and_tables_only_group(resolve: Resolve) -> None:
    options = resolve(job="max_qubits = 5\n[run]\nread-seconds = 7\n[slurm]\ntime-limit = 60\n")
    assert (options.max_qubits, options.read_seconds, options.time_limit) == (5, 7, 60.0)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("seed = 3", "seed", 3),
        ('seed = "3"', "seed", 3),
        ("shots = 1_000_000", "shots", 1_000_000),
        ("cut-labels = 112233", "cut_labels", "112233"),
        ("partition = 112233", "cut_labels", "112233"),
        ("dtype = 'complex64'", "dtype", "complex64"),
        ("target-error = 0.25", "target_error", 0.25),
        ("search-seconds = 2.5", "search_seconds", 2.5),
        ("time-limit = 01:30:00", "time_limit", 5400.0),
        ('time-limit = "1-00:00:00"', "time_limit", 86400.0),
        ("reuse-qubits = true", "reuse_qubits", True),
        ("reuse-qubits = false", "reuse_qubits", None),
        ("json = true", "json", True),
        ('observable = "-Z0"', "observable", ["-Z0"]),
        ('observable = ["Z0", "-X1 + 0.5 Y2"]', "observable", ["Z0", "-X1 + 0.5 Y2"]),
        ("observable = []", "observable", []),
        ('backend = "--help"', "backend", "--help"),
        ("backend = '''a 'b' \"c\" $(d) `e` ; é'''", "backend", "a 'b' \"c\" $(d) `e` ; é"),
    ],
)
def test_values_of_a_job_file(resolve: Resolve, line: str, name: str, value: object) -> None:
    assert getattr(resolve(job=line), name) == value


def test_the_same_values_from_the_environment(resolve: Resolve) -> None:
    options = resolve(
        job="json = true\nthreads = 3\nobservable = ['Z0', 'Z1']",
        HPCQ_JSON="off",
        HPCQ_REUSE_QUBITS="Yes",
        HPCQ_MAX_QUBITS="3",
        HPCQ_BACKEND="-$(x) 'y'",
        HPCQ_OBSERVABLE="-Z0",
        HPCQ_THREADS="",
    )
    assert (options.json, options.reuse_qubits, options.max_qubits) == (False, True, 3)
    assert (options.backend, options.observable, options.threads) == ("-$(x) 'y'", ["-Z0"], 3)


def test_lists_are_replaced_and_never_joined(resolve: Resolve) -> None:
    job = "observable = ['Z0', 'Z1']\nobservables = 'o.json'"
    assert resolve(job=job).observables == "o.json"
    assert resolve(job=job).observable == ["Z0", "Z1"]
    for flag in ("--observable=X0", "--observables=X0"):
        options = resolve(flag, job=job)
        assert [*options.observable, options.observables].count("X0") == 1
        assert "Z0" not in options.observable
        assert options.observables != "o.json"


def test_another_way_to_cut_drops_the_one_below(resolve: Resolve) -> None:
    job = "max-qubits = 5\nsearch-seconds = 9\nobjective = 'overhead'\nseed = 7"
    options = resolve("--cuts", "cuts.json", job=job)
    assert (options.cuts, options.max_qubits, options.seed) == ("cuts.json", None, 7)
    assert (options.search_seconds, options.objective) == (None, None)  # of a search that is gone
    assert resolve(job=job, HPCQ_CUT_LABELS="AB").max_qubits is None
    assert resolve(job=job, HPCQ_CUT_LABELS="", HPCQ_PARTITION="AB").max_qubits is None
    assert resolve("--max-qubits", "3", job="cuts = 'c.json'").cuts is None


def test_only_a_default_of_a_search_may_lack_one(resolve: Resolve) -> None:
    assert resolve(site="search-seconds = 9").search_seconds is None
    assert resolve("--max-qubits", "3", site="search-seconds = 9").search_seconds == 9
    assert resolve(job="objective = 'overhead'").objective == "overhead"  # and cli.py complains
    assert resolve("--objective", "overhead").objective == "overhead"


def test_what_was_resolved_can_be_said_with_flags_alone(resolve: Resolve) -> None:
    job = "max-qubits = 3\nprecision = ['single', 0.1]\ntime-limit = 01:00:00\n"
    job += "observable = ['-Z0', 'X1']"
    options = resolve("--shots", "9", job=job, HPCQ_REUSE_QUBITS="1", HPCQ_BACKEND="-a $b")
    words = ["--max-qubits=3", "--reuse-qubits", "--observable=-Z0", "--observable=X1", "--shots=9"]
    words += ["--target-error=0.1", "--dtype=complex64", "--backend=-a $b", "--time-limit=3600.0"]
    assert options.arguments[:2] == ["run", "c.qasm"]
    assert sorted(options.arguments[2:]) == sorted(words)


def test_precision_was_two_settings(resolve: Resolve) -> None:
    def of(*flags: str, **more: str) -> tuple[str | None, float | None]:
        options = resolve(*flags, **more)
        return options.dtype, options.target_error

    job = "precision = ['single', 0.1]"
    assert of(job=job) == ("complex64", 0.1)
    assert of("--precision", "0.01", job=job) == ("complex64", 0.01)
    assert of("--target-error", "0.01", job=job) == ("complex64", 0.01)
    assert of("--precision", "double", job=job) == ("complex128", 0.1)
    assert of("--dtype", "complex128", job=job) == ("complex128", 0.1)
    assert of(job="target-error = 0.1", site="precision = 'single'") == ("complex64", 0.1)
    assert of("--precision", "0.2", job="precision = 0.1", HPCQ_PRECISION="double") == (
        "complex128",
        0.2,
    )


def test_old_spellings_get_one_notice_that_names_all(resolve: Resolve) -> None:
    now = ("--cut-labels", "AB", "--dtype", "complex64", "--target-error", "0.1")
    new = resolve(*now, job="seed = 3", site="partition = 'batch'")
    assert new.notice == ""
    assert "--partition" not in " ".join(new.arguments)
    old = resolve("--partition", "AB", job="precision = 0.1", HPCQ_PRECISION="single")
    names = ("cut_labels", "dtype", "target_error", "partition", "precision")
    assert all(getattr(old, name) == getattr(new, name) for name in names)
    assert old.notice == (
        "hpcq: note: --partition is now --cut-labels, HPCQ_PRECISION is now HPCQ_DTYPE, "
        "job.toml: precision is now target-error; the old spelling still works"
    )
    again = resolve(*old.arguments[2:], HPCQ_PRECISION="")
    assert again.notice == ""
    submitted = resolve("--partition", "AB", "-p", "batch", command="submit")
    assert (submitted.cut_labels, submitted.slurm_partition) == ("AB", "batch")
    assert "--cut-labels" in submitted.notice
    assert "--slurm-partition" in submitted.notice
    words = submitted_command(submitted, "").arguments
    assert words == ("--cut-labels=AB",)


def test_paths_of_a_file_are_relative_to_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a 'b' $(c)"
    folder.mkdir()
    (folder / "job.toml").write_text(
        'circuit = "../c.qasm"\nobservables = "o.json"\noutput = "/x/o.h5"\nnoise = "n.json"'
    )
    options = arguments.parse(["run", f"{folder.name}/job.toml"], COMMANDS)
    assert options.circuit == f"{folder.name}/../c.qasm"
    assert options.observables == f"{folder.name}/o.json"
    assert options.noise == f"{folder.name}/n.json"
    assert options.output == "/x/o.h5"
    (folder / "job.toml").write_text('circuit = "example:lattices"\nnoise = "fake_brisbane"')
    monkeypatch.setenv("HPCQ_OUTPUT", "here.h5")
    options = arguments.parse(["run", f"{folder.name}/job.toml"], COMMANDS)
    assert (options.circuit, options.noise) == ("example:lattices", "fake_brisbane")
    assert options.output == "here.h5"


def test_options_of_another_command_are_not_for_this_one(resolve: Resolve) -> None:
    job = "output = 'o.h5'\nsave = 'c.json'\nstop-signal = 'USR2'"
    assert resolve(job=job, command="plan", HPCQ_TIME_LIMIT="1:00:00").save == "c.json"
    assert resolve(job=job, command="run").stop_signal == "USR2"


def test_commands_without_a_circuit_read_no_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("HPCQ_OUTPUT", "o.h5")
    monkeypatch.setenv("HPCQ_THREADS", "few")
    monkeypatch.setenv("HPCQ_NONSENSE", "1")
    monkeypatch.setenv("HPCQ_SITE", "nowhere.toml")
    for words in (["show", "job.toml"], ["status", "o.h5"], ["doctor"]):
        arguments.parse(words, COMMANDS)
    assert capsys.readouterr().err == ""


# What is wrong in each, and what the line has to say.
BAD_JOBS = {
    "unknown key": ("max-qbits = 3", "job.toml: unknown key 'max-qbits', expected one such as "),
    "nearest": ("max_qbits = 3", "'max-qubits'"),
    "nearest of another command": ("time_limits = 3", "'time-limit'"),
    "case": ("Max-Qubits = 3", "'max-qubits'"),
    "strange key": ('"\\u0000é\\n" = 3', "unknown key '\\x00é\\n'"),
    "long key": (f"{'x' * 5000} = 3", "unknown key"),
    "empty key": ('"" = 3', "unknown key ''"),
    "help": ("help = true", "unknown key 'help'"),
    "unknown table": ("[slrum]\nnodes = 3", "unknown key 'slrum'"),
    "unknown in a table": ("[slurm]\nmax-qbits = 3", "'max-qbits'"),
    "tables in tables": ("[run.run]\nseed = 3", "unknown key 'run'"),
    "array of tables": ("[[run]]\nseed = 3", "run = a list, expected a table [run]"),
    "array of tables as a value": ("[[observable]]\nZ = 1", "observable = a table"),
    "no table": ("slurm = 3", "slurm = 3, expected a table [slurm]"),
    "twice": ("max-qubits = 3\nmax_qubits = 3", "'max-qubits' is given twice"),
    "twice over tables": ("seed = 3\n[run]\nseed = 3", "'seed' is given twice"),
    "twice the same key": ("seed = 3\nseed = 4", "(at line 3"),
    "truth for a number": ("max-qubits = true", "max-qubits = true, expected text or a finite"),
    "number for truth": ("reuse-qubits = 1", "reuse-qubits = 1, expected true or false"),
    "text for truth": ("reuse-qubits = 'on'", "reuse-qubits = 'on', expected true or false"),
    "list for one": ("seed = [1, 2]", "seed = a list, expected text"),
    "truth in a list": ("observable = ['Z0', true]", "observable = true, expected text in quotes"),
    "list in a list": ("observable = [['Z0']]", "observable = a list, expected text in quotes"),
    "deep table": (f"observable.{'a.' * 3000}a = 1", "observable = a table"),
    "date": ("seed = 2024-01-01", "seed = 2024-01-01, expected"),
    "date and time": ("time-limit = 2024-01-01T00:00:00Z", "time-limit = 2024-01-01 00:00"),
    "not a number": ("search-seconds = nan", "search-seconds = nan, expected"),
    "infinite": ("search-seconds = -inf", "search-seconds = -inf, expected"),
    "huge": (f"seed = 0x{'f' * 9999}", "seed = a number beyond 2^64"),
    "huge decimal": (f"seed = {'9' * 9999}", "job.toml"),
    "fraction": (
        "max-qubits = 3.0",
        "job.toml: argument --max-qubits: '3.0', expected a whole number",
    ),
    "word": ("max-qubits = 'x'", "job.toml: argument --max-qubits: 'x', expected a whole number"),
    "negative": ("seed = -1", "job.toml: argument --seed: '-1', expected a whole number"),
    "choice": ("device = 'tpu'", "job.toml: argument --device: invalid choice: 'tpu'"),
    "empty": ("output = ''", "job.toml: argument -o/--output: it is empty"),
    "of two ways": ("max-qubits = 3\ncuts = 'c'", "job.toml: argument --cuts: not allowed with"),
    "labels by two names": ("cut-labels = 'A'\npartition = 'A'", "not allowed with"),
    "error by two names": ("precision = 0.1\ntarget-error = 0.1", "expected target-error alone"),
    "bad target error": ("target-error = 'single'", "expected a standard error between 0 and"),
    "two precisions": ("precision = [0.1, 0.2]", "job.toml: precision: given as 0.1 and 0.2"),
    "bad even if overruled": ("memory = true", "job.toml: memory = true"),
    "no TOML": ("max-qubits 3", "line 2"),
    "unfinished": ("observable = ['Z0'", "expected a job as TOML"),
    "deep list": (f"observable = {'[' * 50000}", "expected a job as TOML"),
    "zero": ("seed = '\0'", "line 2"),
}


@pytest.mark.parametrize(("job", "said"), BAD_JOBS.values(), ids=BAD_JOBS.keys())
def test_a_bad_job_file_is_one_line_and_exit_code_2(
    job: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "job.toml").write_text(f'circuit = "c.qasm"\n{job}\n')
    assert main(["run", "job.toml", "--memory", "1G"]) == 2
    one_line(capsys, said)


def one_line(capsys: pytest.CaptureFixture, said: str) -> None:
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("hpcq: error: ")
    assert printed.err.count("\n") == 1
    assert len(printed.err) < 500
    assert said in printed.err


BAD_FILES = {
    "no circuit": (b"seed = 3", "has no circuit"),
    "empty circuit": (b"circuit = ''", "circuit = '', expected"),
    "circuit is a number": (b"circuit = 3", "circuit = 3, expected"),
    "circuit is a job": (b"circuit = 'job.toml'", "circuit = 'job.toml', expected"),
    "circuit in SLURM's": (b"[slurm]\ncircuit = 'c'", "unknown key 'circuit'"),
    "empty": (b"", "is empty"),
    "no text": (b"seed = 3\n# \xff\xfe\n", "is not UTF-8 text (at line 2)"),
    "huge": (b"#" * 300_000, "has 300000 bytes, expected at most"),
    "a circuit": (b"OPENQASM 2.0;\nqreg q[2];\n", "line 1"),
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_is_no_job(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "job.toml").write_bytes(content)
    assert main(["plan", "job.toml"]) == 2
    one_line(capsys, f"job.toml: {said}" if "line 1" not in said else said)


def test_what_is_no_file_is_no_job(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    cases = {"folder": "is a directory", "pipe": "is a pipe", "nowhere": "No such file"}
    for name, said in cases.items():
        assert main(["run", f"{name}.toml"]) == 2
        one_line(capsys, said)


def test_a_mark_of_byte_order_and_foreign_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_bytes(b"\xef\xbb\xbfcircuit = 'c.qasm'\r\nseed = 3\r\n")
    assert arguments.parse(["run", "job.toml"], COMMANDS).seed == 3


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HPCQ_MAX_QUBITS": "x"}, "HPCQ_MAX_QUBITS: argument --max-qubits: 'x', expected a whole"),
        ({"HPCQ_SEED": " "}, "HPCQ_SEED: argument --seed"),
        ({"HPCQ_OUTPUT": " "}, "HPCQ_OUTPUT: argument -o/--output: it is empty"),
        ({"HPCQ_REUSE_QUBITS": "2"}, "HPCQ_REUSE_QUBITS: '2', expected 1, true, yes, on"),
        ({"HPCQ_DEVICE": "tpu"}, "HPCQ_DEVICE: argument --device: invalid choice"),
        ({"HPCQ_CUTS": "c", "HPCQ_PARTITION": "AB"}, "environment: argument --partition: not"),
        ({"HPCQ_CUTS": "c", "HPCQ_CUT_LABELS": "A"}, "environment: argument --cut-labels: not"),
        (
            {"HPCQ_DTYPE": "complex64", "HPCQ_PRECISION": "single"},
            "environment: precision: given together with dtype, expected dtype alone",
        ),
        ({"HPCQ_DTYPE": "single"}, "HPCQ_DTYPE: argument --dtype: invalid choice"),
        ({"HPCQ_SITE": "nowhere.toml"}, "nowhere.toml: cannot be opened"),
    ],
)
def test_a_bad_variable_is_one_line(
    variables: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["run", "example:lattices"]) == 2
    one_line(capsys, said)


def test_an_unknown_variable_is_a_warning_of_one_rank(
    resolve: Resolve, capsys: pytest.CaptureFixture
) -> None:
    known = {
        "HPCQ_SRUN_MPI": "pmi2",
        "HPCQ_WORKERS": "thread",
        "HPCQ_SECONDS": "3",
        "HPCQ_SAVE": "c.json",
        "HPCQ_EMPTY": "",
    }
    assert resolve(HPCQ_MAX_QBITS="3", **known).max_qubits is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "hpcq: warning: HPCQ_MAX_QBITS is not a setting, the nearest is HPCQ_MAX_QUBITS"
    )
    resolve(HPCQ_max_qubits="3", PMI_RANK="1", PMI_SIZE="2")
    assert capsys.readouterr().err == ""


def test_every_variable_that_the_code_reads_is_known() -> None:
    files = [*(ROOT / "hpcq").rglob("*.py"), *(ROOT / "jobscripts").rglob("*")]
    names = {
        name
        for path in files
        for name in re.findall(r"HPCQ_[A-Z_]+[A-Z]\b", path.read_text())
        if path.name != "sources.py"
    }
    assert names
    assert names <= set(sources._NOT_OPTIONS)


def test_the_site_file_is_the_first_that_there_is(
    tmp_path: Path, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "site.toml").write_text("seed = 1")
    assert resolve().seed == 1
    assert resolve(site="seed = 2").seed == 2
    (tmp_path / "named.toml").write_text("seed = 3\noutput = 'o.h5'")
    assert resolve(HPCQ_SITE="named.toml").seed == 3
    assert resolve(HPCQ_SITE="none").seed == 0
    monkeypatch.setenv("HPCQ_SITE", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # the standard says to ignore it
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert resolve().seed == 1
    place = tmp_path / "home" / ".config" / "hpcq"
    place.mkdir(parents=True)
    (place / "site.toml").write_text("seed = 4")
    assert resolve().seed == 4


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ("acount = 3", "unknown key 'acount'"),
        ("circuit = 'c'", "unknown key 'circuit'"),
        ("seed = 'x'", "argument --seed: 'x'"),
    ],
)
def test_a_bad_site_file_is_named(site: str, said: str, resolve: Resolve, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"site\.toml: ") as refused:
        resolve(site=site)
    assert f"{tmp_path}/config/hpcq/site.toml: {said}" in str(refused.value)


def test_another_command_brings_its_options(tmp_path: Path) -> None:
    """What `submit` will need: SLURM's partition, modules, a flag to switch off, a container."""
    parser = flags.build_parser(COMMANDS)
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    more = commands.add_parser("dispatch", allow_abbrev=False)
    run_flags.add_plan_options(more)
    more.add_argument("--account")
    more.add_argument("--slurm-partition")
    more.add_argument("--module", action="append", default=[])
    more.add_argument("--container")
    more.add_argument("--exclusive", action="store_true")

    def resolved(command: str, site: str, job: str, *flags: str, **variables: str):
        (tmp_path / "site.toml").write_text(site)
        (tmp_path / "job.toml").write_text(f"circuit = 'c.qasm'\n{job}")
        words = [command, "job.toml", *flags]
        options = parser.parse_args(words)
        variables["HPCQ_SITE"] = str(tmp_path / "site.toml")
        settings.apply_settings(options, words, parser, OldSpellings().replace, variables)
        return options

    site = (
        "account = 'q1'\npartition = 'gpu'\nmodule = ['gcc', 'mpi']\nexclusive = true\n"
        "container = 'docker://hpcq'\nthreads = 2"
    )
    options = resolved("dispatch", site, "cut-labels = 'AAB'")
    assert (options.account, options.slurm_partition, options.cut_labels) == ("q1", "gpu", "AAB")
    assert (options.module, options.exclusive) == (["gcc", "mpi"], True)
    assert (options.container, options.threads) == ("docker://hpcq", 2)
    options = resolved(
        "dispatch",
        site,
        "[slurm]\npartition = 'cpu'\nmodule = 'only'\ncontainer = 'h.sif'\naccount = 7",
        "--account=mine",
        HPCQ_EXCLUSIVE="no",
    )
    assert (options.account, options.slurm_partition, options.cut_labels) == ("mine", "cpu", None)
    assert (options.module, options.exclusive, options.container) == (["only"], False, "h.sif")
    options = resolved("run", site, "account = 'q2'", HPCQ_SLURM_PARTITION="cpu")
    assert options.threads == 2
    assert not hasattr(options, "account")
    with pytest.raises(InputError, match=r"job\.toml: exclusive = 'x', expected true or false"):
        resolved("run", site, "exclusive = 'x'")


def _is_value(text: str) -> bool:
    return text.strip() not in ("", "--")


LAYERS = ("flags", "environment", "job", "site")
VALUES = {
    "seed": st.integers(0, 99),
    "threads": st.integers(1, 99),
    "max-variants": st.integers(1, 99),
    "checkpoint-seconds": st.floats(0.5, 99),
    "memory": st.text("0123456789KMGT -'\"$=", min_size=1).filter(_is_value),
    "stop-signal": st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1).filter(
        _is_value
    ),
    "device": st.sampled_from(["cpu", "gpu", "auto"]),
    "observable": st.lists(st.sampled_from(["Z0", "-X1", "Y0 Y1"]), min_size=1, max_size=3),
    "json": st.just(True),
}


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.dictionaries(st.sampled_from(LAYERS), values, min_size=1)
            for name, values in VALUES.items()
        },
    )
)
def test_the_highest_layer_wins_whatever_is_given(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, dict[str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("layers", numbered=True)
    words = ["run", str(folder / "job.toml")]
    variables = {"HPCQ_SITE": str(folder / "site.toml")}
    files = {"job": ["circuit = 'c.qasm'"], "site": ["read-seconds = 4"]}
    expected: dict[str, object] = {}
    for name, layers in wanted.items():
        for layer, value in layers.items():
            values = value if isinstance(value, list) else [value]
            if layer == "flags":
                words += [f"--{name}" + ("" if v is True else f"={v}") for v in values]
            elif layer == "environment":
                variables["HPCQ_" + name.upper().replace("-", "_")] = str(values[0])
            else:
                files[layer].append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
        top = next(layer for layer in LAYERS if layer in layers)
        value = layers[top]
        expected[name.replace("-", "_")] = (
            value[:1] if top == "environment" and isinstance(value, list) else value
        )
    for layer, lines in files.items():
        (folder / f"{layer}.toml").write_text("\n".join(lines))
    parser = flags.build_parser(COMMANDS)
    options, plain = parser.parse_args(words), parser.parse_args(words[:2])
    settings.apply_settings(options, words, parser, OldSpellings().replace, variables)
    assert options.circuit == str(folder / "c.qasm")
    for name, value in (vars(plain) | expected).items():
        if name != "circuit":
            assert getattr(options, name) == value
    again = vars(parser.parse_args(options.arguments))
    assert again == {name: value for name, value in vars(options).items() if name != "arguments"}


@pytest.mark.slow
def test_a_job_runs_and_its_file_holds_what_was_resolved(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    qasm = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[4]; h q[0]; cx q[0],q[1]; cx q[1],q[2];'
    (tmp_path / "c.qasm").write_text(f"{qasm} cx q[2],q[3];")
    (tmp_path / "job.toml").write_text(
        "circuit = 'c.qasm'\nmax-qubits = 2\nobservable = 'Z0 Z3'\nmemory = '1G'\nthreads = 1\n"
        "output = 'o.h5'\nseed = 5"
    )
    assert main(["plan", "job.toml", "--save", "cuts.json", "--json"]) == 0
    capsys.readouterr()
    assert main(["run", "job.toml", "--json"]) == 0
    by_job = json.loads(capsys.readouterr().out)
    flags = ["--max-qubits", "2", "--observable", "Z0 Z3", "--memory", "1G", "--threads", "1"]
    assert main(["run", "c.qasm", *flags, "--seed", "5", "--json"]) == 0
    by_flags = json.loads(capsys.readouterr().out)
    assert by_job["expectation_values"] == by_flags["expectation_values"] == [pytest.approx(1)]
    assert by_job.get("config") == by_flags.get("config")
    assert main(["run", "job.toml", "--cuts", "cuts.json", "-o", "p.h5", "--json"]) == 0
    assert main(["show", "o.h5", "--json"]) == 0


@pytest.mark.mpi
def test_rank_0_reads_the_settings_for_all(tmp_path: Path) -> None:
    """The others may be on nodes that lack its files and variables."""
    (tmp_path / "job.toml").write_text("circuit = 'example:lattices'\nmax-qubits = 18\nseed = 5")
    job = f"exec {sys.executable} -m hpcq run {tmp_path}/job.toml --json"
    ranks = 'rank="${PMI_RANK:-$OMPI_COMM_WORLD_RANK}"\n[ "$rank" = '

    def said(*lines: str, **variables: str) -> tuple[int, str, list[str]]:
        done = run("bash", "-c", "\n".join(lines), ranks=2, seconds=60, **variables)
        ours = [line for line in done.stderr.splitlines() if line.startswith("hpcq: ")]
        return done.returncode, done.stdout, ours

    code, printed, (warning,) = said(job, HPCQ_OTHER="1")
    assert code == 0
    assert "HPCQ_OTHER" in warning
    assert len(json.loads(printed)["observables"]) == 48
    elsewhere = "export HPCQ_SITE=nowhere.toml HPCQ_SEED=x HPCQ_STOP_SIGNAL=TERM HPCQ_OTHER=1"
    code, again, nothing = said(f"{ranks} 0 ] || {elsewhere}", job.replace("exec ", ""))
    assert (code, nothing) == (0, [])
    assert json.loads(again)["expectation_values"] == json.loads(printed)["expectation_values"]
    for wrong in ("HPCQ_SITE=nowhere.toml", "HPCQ_SEED=x"):  # on rank 0 alone
        _, printed, (line,) = said(f"{ranks} 1 ] || export {wrong}", job)
        assert printed == ""
        assert line.startswith("hpcq: error: ")
        assert wrong.split("=")[1] in line


def test_the_examples_of_the_readme_are_true(tmp_path: Path, resolve: Resolve) -> None:
    readme = (ROOT / "README.md").read_text()
    job, site = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "job.toml").write_text(job)
    options = arguments.parse(["run", "job.toml", "--target-error", "0.02"], COMMANDS)
    wanted = {"max_qubits": 20, "output": "out.h5", "dtype": "complex64", "target_error": 0.02}
    assert options.notice == ""
    assert {name: getattr(options, name) for name in wanted} == wanted
    assert resolve(site=site).checkpoint_seconds == 300


@pytest.mark.slow
def test_arguments_are_light_to_import() -> None:
    code = (
        "import hpcq.cli.arguments, sys; "
        "print([m for m in ('tomllib', 'difflib', 'datetime', 'numpy') if m in sys.modules])"
    )
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"
