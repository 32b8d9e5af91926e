"""Ledgers of other packages, in the way that their users call them: durable calls a second.

    python3 benches/peers.py [SECONDS]

Installs the packages, at the versions below, into the virtual environment `target/peers`, and runs itself there. Each line:
package, what a call leaves, entries that the ledger had at the end, calls a second. The rates stand beside those
of `--workload calls` of the same machine; Python is part of them, as it is of what these packages offer.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import venv

PACKAGES = [
    "cryptography==50.0.2",  # without it meshflow cannot be imported
    "dbos==3.4.0",
    "langgraph==1.2.22",
    "langgraph-checkpoint-sqlite==3.1.2",
    "meshflow==1.3.0",
    "mycelium-runtime==1.38.5",
    "zu-backends==0.2.0",
    "zu-core==0.2.0",
]
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0


def prepared():
    """Runs this file in the environment, which is made if it is not there or has other versions."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = os.path.join(root, "target", "peers")
    if os.path.realpath(sys.prefix) == os.path.realpath(folder):
        return
    python, installed = os.path.join(folder, "bin", "python"), os.path.join(folder, "installed")
    wanted = "\n".join(PACKAGES)
    if not os.path.exists(installed) or open(installed).read() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        with open(installed, "w") as file:
            file.write(wanted)
    os.execv(python, [python, *sys.argv])


def rate(call, fill=0):
    for number in range(fill):
        call(number)
    began, number = time.perf_counter(), fill
    while time.perf_counter() - began < SECONDS:
        call(number)
        number += 1
    return number, (number - fill) / (time.perf_counter() - began)


def mycelium(folder, fill):
    from mycelium import FileLedgerStorage, ledger_sync

    @ledger_sync(storage=FileLedgerStorage(os.path.join(folder, "ledger.json")))
    def pay(amount):
        return {"paid": amount, "d": "x" * 200}

    return rate(lambda number: pay(amount=12, request_id=f"inv-{number}"), fill)


def langgraph(folder, _):
    import sqlite3
    from typing import TypedDict

    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import END, START, StateGraph

    class State(TypedDict):
        paid: str

    graph = StateGraph(State)
    graph.add_node("pay", lambda state: {"paid": "x" * 200})
    graph.add_edge(START, "pay")
    graph.add_edge("pay", END)
    connection = sqlite3.connect(os.path.join(folder, "graph.db"), check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    app = graph.compile(checkpointer=SqliteSaver(connection))
    return rate(
        lambda number: app.invoke(
            {"paid": ""}, {"configurable": {"thread_id": f"inv-{number}"}}
        )
    )


def dbos(folder, _):
    from dbos import DBOS, SetWorkflowID

    DBOS(
        config={
            "name": "peers",
            "system_database_url": f"sqlite:///{os.path.join(folder, 'dbos.db')}",
            "log_level": "ERROR",
        }
    )

    @DBOS.step()
    def pay(amount):
        return {"paid": amount, "d": "x" * 200}

    @DBOS.workflow()
    def invoice(amount):
        return pay(amount)

    DBOS.launch()

    def call(number):
        with SetWorkflowID(f"inv-{number}"):
            invoice(12)

    try:
        return rate(call)
    finally:
        DBOS.destroy()


def meshflow(folder, _):
    import dataclasses

    from meshflow.core.ledger import ReplayLedger
    from meshflow.core.runtime import StepRecord

    ledger = ReplayLedger(os.path.join(folder, "runs.db"))
    given = {
        "run_id": "run-1",
        "node_id": "pay",
        "node_kind": "native",
        "input_task": "pay 12",
        "output_content": "x" * 200,
        "verdict": "commit",
        "timestamp": "2026-01-01T00:00:00+00:00",
    }
    empty = {"str": "", "bool": False, "float": 0.0, "int": 0}
    fields = [field for field in dataclasses.fields(StepRecord) if field.init]
    rest = {field.name: empty[field.type] for field in fields if field.type in empty}
    last = [""]

    async def write(number):
        record = StepRecord(
            **{**rest, **given, "step_id": f"step-{number}", "prev_hash": last[0]}
        )
        last[0] = record.entry_hash
        await ledger.write(record)

    with asyncio.Runner() as runner:
        return rate(lambda number: runner.run(write(number)))


def zu(folder, _):
    from uuid import uuid4

    from zu_backends.sqlite_sink import SqliteSink
    from zu_core.contracts import Event

    sink, run = SqliteSink(os.path.join(folder, "zu.db")), uuid4()

    async def call(number):
        about = {"trace_id": run, "task_id": run, "source": "tool:pay"}
        request = {"tool": "pay", "args": {"amount": 12, "number": number}}
        await sink.append(Event(type="harness.tool.invoked", payload=request, **about))
        answer = {"tool": "pay", "observation": {"d": "x" * 200}}
        await sink.append(Event(type="harness.tool.returned", payload=answer, **about))

    with asyncio.Runner() as runner:
        return rate(lambda number: runner.run(call(number)))


def main():
    prepared()
    for name, run, fill in [
        ("mycelium-runtime, file: claimed and completed", mycelium, 0),
        ("mycelium-runtime, file: claimed and completed", mycelium, 200),
        ("langgraph, SqliteSaver: checkpoints and writes of one node", langgraph, 0),
        ("dbos, SQLite: a workflow of one step", dbos, 0),
        ("meshflow, ReplayLedger: one record after the call", meshflow, 0),
        ("zu, SQLite sink: two events", zu, 0),
    ]:
        with tempfile.TemporaryDirectory() as folder:
            entries, found = run(folder, fill)
            print(f"{name}: {entries} entries, {found:.1f} calls/s", flush=True)


main()
