"""Strong and weak scaling of exact runs over MPI ranks.

    python benchmarks/scaling.py run --kind strong --ranks 1 2 [--seconds 60] [--output FOLDER]
    python benchmarks/scaling.py table FOLDER/*.json
    python benchmarks/scaling.py plot FOLDER/*.json -o scaling.png

``run`` starts the whole command ``hpcq run`` once for each number of ranks, and writes a JSON file
for each. Where no ``--depth`` is given, a short run measures how deep the circuit must be for its
simulations to take ``--seconds`` of one rank (with ``weak``: of every rank). Give it to compare
machines, or jobs. A circuit of much more than 300,000 gates is more than hpcq reads; ``--sliced``
makes more work of fewer gates.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from report import grid, machine, note, seconds
from rings import Ring

import hpcq
from hpcq.core.version import versions

Record = dict[str, Any]
"""One run: the content of a JSON file."""

_FORMAT = "hpcq-scaling"
_SIMULATION_SECONDS = 0.3  # seconds that one simulation should take
_TRIAL_DEPTH = 4  # of the circuit that is measured to choose the depth
_MIN_SHOWN = 0.005  # least share of the time for a phase to be printed
_MAX_TICKS = 9  # of the axis of ranks


def hpcq_json(options: argparse.Namespace, ranks: int, words: Sequence[str]) -> Record:
    """Run a command of hpcq under the launcher, and return its JSON with its seconds.

    Raises:
        RuntimeError: If it fails.
    """
    nodes = -(-ranks // options.ranks_per_node)
    launcher = shlex.split(options.launcher.format(ranks=ranks, nodes=nodes))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # -P: the same hpcq as here, wherever the command is started
    command = [*launcher, sys.executable, "-P", "-m", "hpcq", *words, "--json"]
    start = time.perf_counter()
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"HPCQ_CALIBRATION": "none", "PATH": path},
    )
    taken = time.perf_counter() - start
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not found:
        raise RuntimeError(f"exit code {done.returncode}: {shlex.join(command)}")
    report: Record = json.loads(found[-1])
    return report | {"command_seconds": round(taken, 6)}


def measured(options: argparse.Namespace, ring: Ring, ranks: int) -> Record:
    """Plan and run one circuit.

    Raises:
        RuntimeError: If that fails, or hpcq makes other tasks of it than it should.
    """
    load = machine()
    # The ranks may be on other nodes, so the files lie where the results go.
    with tempfile.TemporaryDirectory(dir=options.output, prefix="ring-") as folder:
        words = ring.write(Path(folder))
        digest = hashlib.sha256((Path(folder) / "ring.qasm").read_bytes()).hexdigest()
        words += ["--memory", str(ring.memory), "--threads", str(options.threads)]
        words += ["--read-seconds", "600"]
        plan = hpcq_json(options, 1, ["plan", *words, "--ranks", str(ranks)])
        if plan["num_tasks"] != ring.tasks:
            raise RuntimeError(f"{plan['num_tasks']} tasks are planned, expected {ring.tasks}")
        result = hpcq_json(options, ranks, ["run", *words, "--device", "cpu"])
    provenance = result["provenance"]
    if provenance["ranks"] != ranks:
        raise RuntimeError(f"the launcher started {provenance['ranks']} ranks, expected {ranks}")
    values = json.dumps(result["expectation_values"])  # as many digits as tell all doubles apart
    return {
        "ranks": ranks,
        "tasks": ring.tasks,
        "command_seconds": result["command_seconds"],
        "phases": provenance["seconds"],
        "predicted_seconds": plan["predicted_seconds"],
        "predicted_one_rank": plan["simulation_seconds"] + plan["contraction_seconds"],
        "values_sha256": hashlib.sha256(values.encode()).hexdigest(),
        "circuit_sha256": digest,
        "workload": asdict(ring) | {"width": ring.width, "memory": ring.memory},
        "machine": load,
        "provenance": provenance,
    }


def run(options: argparse.Namespace) -> int:
    """Measure, and write a file for each number of ranks."""
    options.output.mkdir(parents=True, exist_ok=True)
    asked = sorted(set(options.ranks))
    least = asked[0] if options.kind == "weak" else 1
    if any(ranks < 1 or ranks % least for ranks in asked):
        raise SystemExit(f"--ranks: {asked}, expected multiples of the least one with weak")
    simulations = Ring(1, 1, 1, options.sliced).simulations
    work = options.seconds * least
    share = max(2, round(work / (_SIMULATION_SECONDS * simulations)))
    depth = options.depth
    if depth is None:
        note("how deep the circuit must be")
        trial = Ring(2, 2, _TRIAL_DEPTH, 3)
        spent = measured(options, trial, 1)["phases"]["simulate"]
        layer = spent / (trial.blocks * trial.simulations * trial.depth)
        depth = max(1, round(work / (share * simulations * layer)))
    done: list[Record] = []
    for ranks in asked:
        blocks = share * (ranks // least if options.kind == "weak" else 1)
        ring = Ring(blocks, share, depth, options.sliced)
        note(f"{options.kind}, {ranks} ranks: {blocks} blocks, depth {depth}, {ring.tasks} tasks")
        record: Record = {
            "format": _FORMAT,
            "kind": options.kind,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds_asked": options.seconds,
            "share_ranks": least,
            "depth_measured": options.depth is None,
            "threads": options.threads,
            "launcher": options.launcher,
            "ranks_per_node": options.ranks_per_node,
            "versions": versions(),
            "git": revision(),
        }
        try:
            record |= measured(options, ring, ranks)
        except (RuntimeError, OSError) as error:
            note(f"failed: {error}")
            continue
        done.append(record)
        record |= compared(done[0], record)
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        name = f"{options.kind}-{ranks:05d}-{stamp}.json"
        (options.output / name).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if done:
        print(table(done))
    wrong = [record["ranks"] for record in done if record["same_values"] is False]
    if wrong:
        note(f"other values than on {done[0]['ranks']} ranks: {wrong}")
    return 0 if len(done) == len(asked) and not wrong else 1


def compared(first: Record, other: Record) -> Record:
    """Return the efficiency relative to the least number of ranks, and whether values agree."""
    work = other["ranks"] / first["ranks"] if other["kind"] == "strong" else 1.0
    return {
        "relative_to": first["ranks"],
        "efficiency": {
            "simulate": first["phases"]["simulate"] / (other["phases"]["simulate"] * work),
            "command": first["command_seconds"] / (other["command_seconds"] * work),
        },
        "same_values": first["values_sha256"] == other["values_sha256"]
        if other["kind"] == "strong"
        else None,
    }


def series_of(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return comparable runs by the name of their series: the fastest for each number of ranks."""
    best: dict[str, dict[int, Record]] = {}
    for record in records:
        ring, git = record["workload"], record["git"]
        whom = f" for {record['share_ranks']} ranks" if record["kind"] == "weak" else ""
        name = (
            f"{record['kind']}, {ring['share']} blocks{whom}, {ring['sliced']} sliced, depth "
            f"{ring['depth']}, {record['threads']} threads, {record['machine']['cpu']}, "
            f"{git['revision'][:7] or 'hpcq ' + record['versions']['hpcq']}"
            f"{' with changes' if git['dirty'] else ''}"
        )
        known = best.setdefault(name, {}).setdefault(record["ranks"], record)
        if record["command_seconds"] < known["command_seconds"]:
            best[name][record["ranks"]] = record
    return {
        name: [records[ranks] for ranks in sorted(records)]
        for name, records in sorted(best.items())
    }


def table(records: Sequence[Record]) -> str:
    """Return the runs as Markdown tables, one for each series."""
    head = ["ranks", "tasks", "simulate", "efficiency", "command", "efficiency", "predicted"]
    head += ["same values", "load before"]
    texts = []
    for name, runs in series_of(records).items():
        lines = [head]
        for record in runs:
            how = compared(runs[0], record)
            lines.append(
                [
                    str(record["ranks"]),
                    str(record["tasks"]),
                    seconds(record["phases"]["simulate"]),
                    f"{how['efficiency']['simulate']:.1%}",
                    seconds(record["command_seconds"]),
                    f"{how['efficiency']['command']:.1%}",
                    seconds(record["predicted_seconds"]),
                    {True: "yes", False: "**NO**", None: ""}[how["same_values"]],
                    f"{record['machine']['load']:.2f} on {record['machine']['cores']} cores",
                ]
            )
        texts.append(f"{name}\n\n{grid(lines)}")
    return "\n\n".join(texts)


def plot(records: Sequence[Record], path: Path) -> None:
    """Draw efficiency and seconds against ranks, strong and weak scaling side by side."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, NullLocator

    series = series_of(records)
    kinds = [kind for kind in ("strong", "weak") if any(r["kind"] == kind for r in records)]
    names = dict.fromkeys(
        name
        for record in records
        for name, spent in phases_of(record).items()
        if spent > _MIN_SHOWN * record["command_seconds"]
    )
    colours = {name: f"C{place}" for place, name in enumerate(names)}
    figure, axes = pyplot.subplots(
        2, len(kinds), figsize=(6.4 * len(kinds), 9.6), squeeze=False, layout="constrained"
    )
    for kind, (above, below) in zip(kinds, axes.T, strict=True):
        chosen = {name: runs for name, runs in series.items() if runs[0]["kind"] == kind}
        for number, (name, runs) in enumerate(chosen.items()):
            ranks = [record["ranks"] for record in runs]
            about = name.split(", ", 1)[1] if len(chosen) > 1 else ""
            for part, style in (("simulate", "o-"), ("command", "s:")):
                shown = [compared(runs[0], record)["efficiency"][part] for record in runs]
                label = f"{part}: {about}" if about else part
                above.plot(ranks, shown, style, color=f"C{number}", ms=5, label=label)
            phases = [phases_of(record) for record in runs]
            line = (0, (6, number)) if number else "-"
            for phase in names:
                spent = [own_phases.get(phase, 0.0) for own_phases in phases]
                label = "" if number else phase
                below.plot(ranks, spent, "o", ls=line, color=colours[phase], ms=4, label=label)
            ideal = [
                phases[0]["simulate"] * (ranks[0] / r if kind == "strong" else 1) for r in ranks
            ]
            below.plot(ranks, ideal, "--", color="grey", lw=1, label="" if number else "ideal")
        above.axhline(1, ls="--", color="grey", lw=1, label="ideal")
        most = 1.1 * max(1.0, above.dataLim.y1)
        above.set(title=f"{kind} scaling", ylabel="efficiency", ylim=(0, most))
        below.set(xlabel="ranks", ylabel="seconds", yscale="log")
        ticks = sorted({record["ranks"] for runs in chosen.values() for record in runs})
        step = -(-len(ticks) // _MAX_TICKS)
        for axis, columns in ((above, 1), (below, 3)):
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_locator(FixedLocator(ticks[:1] + ticks[:0:-step]))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.xaxis.set_major_formatter("{x:.0f}")
            axis.grid(alpha=0.3)
            axis.legend(fontsize=8, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    figure.savefig(path, dpi=150)


def phases_of(record: Record) -> dict[str, float]:
    """Return the seconds of the whole command and of its parts."""
    phases: dict[str, float] = record["phases"]
    rest = record["command_seconds"] - sum(phases.values())
    return {"command": record["command_seconds"], "start, read, plan": rest, **phases}


def read(paths: Sequence[Path]) -> list[Record]:
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    for path, record in zip(paths, records, strict=True):
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            raise SystemExit(f"{path}: no file of scaling.py run")
    return records


def revision() -> Record:
    """Return the revision of the hpcq that runs, and whether it was changed since."""
    git = ["git", "-C", str(Path(hpcq.__file__).parent)]
    try:
        head, status = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "."])
        )
    except (OSError, subprocess.CalledProcessError):
        return {"revision": "", "dirty": None}
    return {"revision": head.strip(), "dirty": bool(status.strip())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="measure")
    runs.add_argument("--kind", choices=("strong", "weak"), required=True)
    runs.add_argument("--ranks", type=int, nargs="+", required=True)
    runs.add_argument("--seconds", type=float, default=60.0, help="of one rank; default: 60")
    runs.add_argument("--depth", type=int, help="layers of a block; default: measured")
    runs.add_argument(
        "--sliced",
        type=int,
        choices=range(2, 7),
        default=3,
        help="ports of a block; one more makes four times the work of a gate, for many ranks; "
        "default: 3",
    )
    runs.add_argument("--threads", type=int, default=1, help="of a rank; default: 1")
    runs.add_argument(
        "--launcher", default="mpirun -n {ranks}", help="may name {nodes}; default: %(default)s"
    )
    runs.add_argument("--ranks-per-node", type=int, default=1, help="makes {nodes} of {ranks}")
    runs.add_argument("--output", type=Path, default=Path("scaling-runs"), metavar="FOLDER")
    for name in ("table", "plot"):
        files = commands.add_parser(name)
        files.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    files.add_argument("-o", "--output", type=Path, default=Path("scaling.png"))
    options = parser.parse_args()
    if options.command == "run":
        return run(options)
    records = read(options.files)
    print(table(records))
    if options.command == "plot":
        plot(records, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
