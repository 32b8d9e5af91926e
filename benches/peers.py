"""Ledgers of other packages, in the way that their users call them: durable calls a second.

    python3 -m venv target/peers && target/peers/bin/pip install mycelium-runtime dbos \
        langgraph langgraph-checkpoint-sqlite
    target/peers/bin/python benches/peers.py [SECONDS]

Each line: package, entries that the ledger had at the end, calls a second. What is not installed is
passed over. The rates stand beside those of `--workload calls` of the same machine; Python is part of them, as
it is of what these packages offer.
"""

import os
import sys
import tempfile
import time

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0


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


def main():
    for name, run, fill in [
        ("mycelium-runtime, file", mycelium, 0),
        ("mycelium-runtime, file", mycelium, 500),
        ("langgraph, SqliteSaver", langgraph, 0),
        ("dbos, SQLite", dbos, 0),
    ]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                entries, found = run(folder, fill)
            except ImportError as error:
                print(f"{name}: not installed ({error})")
                continue
            print(f"{name}: {entries} entries, {found:.1f} calls/s")


main()
