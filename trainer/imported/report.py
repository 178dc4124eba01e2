"""The text on the terminal when an import is over."""

from __future__ import annotations

from registry.text import table
from trainer.imported.pipeline import Imported
from trainer.report import to_serve

REFUSAL = "The gate refused the model; nothing was pushed. The same command with --force --reason TEXT pushes it."


def summary(imported: Imported) -> str:
    """What was measured and how it was judged; where it was pushed, how to serve it."""
    metrics = imported.card.metrics
    verdicts = table([["passed" if each.passed else "FAILED", each.name, each.sentence] for each in imported.checks])
    latency = metrics["latency_ms"] or metrics["litert_latency_ms"]
    lines = ["", verdicts, "", f"One image takes {latency['single']:,.2f} ms here."]
    if imported.version is None:
        return "\n".join(lines)
    verdict, store, version = imported.verdict, imported.store, imported.version
    if verdict is None:
        outcome = "not judged: --test folder:PATH would do so"
    else:
        outcome = "accepted by the gate" if verdict.accepted else f"refused, but forced: {verdict.forced}"
    where = store.path(version)
    pushed = f"Pushed {imported.card.config['model']} as version {version} of {store.name}: {where} ({outcome})"
    litert = "RUNTIME=litert " if "only" in metrics["litert"] else ""
    served = to_serve(store, version)
    return "\n".join([*lines, pushed, served.replace("make serve", f"{litert}make serve")])
