// The tab "Model": what the version's own files say of it. What they do not have is named as missing.

import { address, get } from "./api.js";
import { calibration, curves } from "./charts.js";
import { confusion } from "./confusion.js";
import { byId, make, percent } from "./dom.js";

let why; // a version may lack figures
let shown; // model and version on the page
let newest; // the description shown last; late replies about another are dropped

export async function show(described) {
  newest = described;
  byId("model-problem").textContent = "";
  try {
    const { versions, pinned } = await get(address("model/versions", { model: described.model }));
    if (described !== newest) return;
    byId("versions").replaceChildren(...versions.map((each) => version(each, pinned)));
    const wanted = `${described.model} ${described.version}`;
    if (wanted === shown) return;
    const has = (name) => described.files.includes(name);
    const file = (name) => (has(name) ? get(address(`model/files/${name}`, { model: described.model })) : null);
    const [evaluation, examples] = await Promise.all([file("evaluation.json"), file("examples.json")]);
    if (described !== newest) return;
    const { card } = described;
    why = card.config.imported ? "it was imported" : "an older trainer pushed it";
    showCard(described);
    fill("curves", card.metrics.history?.loss && curves(card.metrics.history, card.metrics.kept_epoch ?? card.metrics.best_epoch + 1), "training history");
    fill("confusion", evaluation && confusion(evaluation.confusion, card.classes, examples, byId("examples"), described.model), "confusion matrix");
    fill("classes", card.metrics.per_class && byClass(card.metrics.per_class), "figures by class");
    fill("calibration", evaluation && calibration(evaluation.calibration ?? evaluation), "calibration");
    shown = wanted;
  } catch (error) {
    if (described === newest) byId("model-problem").textContent = error.message;
  }
}

function fill(id, content, what) {
  byId(id).replaceChildren(content || make("p", { className: "note" }, `This version has no ${what}: ${why}.`));
}

function showCard({ model, version, card }) {
  const { metrics, data } = card;
  const interval = metrics.test_interval ?? [];
  const facts = {
    Model: `${model} version ${version}`,
    Architecture: card.config.model && [card.config.model, metrics.parameters && `${metrics.parameters.toLocaleString("en")} parameters`].filter(Boolean).join(", "),
    Classes: card.classes.join(", "),
    Input: `${card.input.shape.join(" x ")} pixels, 0 to 255`,
    Data: data.source && `${data.dataset}: ${Object.entries(data.images).map(([split, count]) => `${count.toLocaleString("en")} ${split}`).join(", ")}`,
    "Test accuracy": metrics.test_accuracy && `${percent(metrics.test_accuracy)}${interval.length ? ` (95 % interval ${interval.map(percent).join(" to ")})` : ""}`,
    "Corrupted images": metrics.robust_accuracy && `${percent(metrics.robust_accuracy)} accuracy on average`,
    "Calibration error": metrics.calibration && `${percent(metrics.calibration.calibrated.ece)} after temperature scaling (temperature ${metrics.calibration.temperature.toFixed(2)})`,
    "Out-of-distribution images": metrics.familiarity?.kinds && detection(metrics.familiarity),
    [card.config.imported ? "Imported" : "Trained"]: `${card.created.slice(0, 16).replace("T", " ")} UTC${metrics.seconds ? `, in ${Math.round(metrics.seconds)} s` : ""}, run ${card.run}`,
    Code: card.commit,
    Libraries: Object.entries(card.libraries).map((each) => each.join(" ")).join(", "),
  };
  const rows = Object.entries(facts).filter(([, fact]) => fact);
  byId("card").replaceChildren(...rows.flatMap(([name, fact]) => [make("dt", {}, name), make("dd", {}, fact)]));
}

function detection(familiarity) {
  const kinds = Object.entries(familiarity.kinds).map(([kind, of]) => `${kind} ${percent(of.found)} (AUROC ${of.auroc.toFixed(3)})`);
  return `detected: ${kinds.join(", ")}; ${percent(familiarity.flagged_test_images)} of the test images are flagged wrongly`;
}

function byClass(classes) {
  const cells = (texts, tag = "td") => texts.map((text) => make(tag, tag === "th" ? { scope: "col" } : {}, text));
  const rows = Object.entries(classes).map(([name, of]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...cells([of.precision, of.recall, of.f1].map((each) => each.toFixed(3)))),
  );
  const head = make("thead", {}, make("tr", {}, ...cells(["Class", "Precision", "Recall", "F1"], "th")));
  return make("table", { className: "data" }, head, make("tbody", {}, ...rows));
}

function version({ version, problem, created, architecture, test_accuracy: accuracy, verdict, state }, pinned) {
  if (problem) return make("p", { className: "version" }, `Version ${version}: ${problem}`);
  const tags = [
    state === "served" && ["served", ""],
    pinned === version && ["pinned", ""],
    verdict && (verdict.accepted ? ["accepted", ""] : [`refused, forced${verdict.forced_by ? ` by ${verdict.forced_by}` : ""}: ${verdict.forced}`, "failed"]),
    state && state !== "served" && [`not served: ${state}`, "failed"],
  ].filter(Boolean);
  const checks = (verdict?.checks ?? []).map((each) => make("li", {}, `${each.passed ? "Passed" : "Failed"}: ${each.sentence}`));
  const facts = [architecture, accuracy && `${percent(accuracy)} test accuracy`, `${created.slice(0, 16).replace("T", " ")} UTC`].filter(Boolean).join(", ");
  const summary = make("summary", {}, `Version ${version}: ${facts}`, ...tags.map(([text, kind]) => make("span", { className: `tag ${kind}` }, text)));
  const compared = verdict?.against ? `The gate compared it with version ${verdict.against}.` : "The gate had no version to compare it with.";
  return make("details", { className: "version" }, summary, make("p", { className: "note" }, verdict ? compared : "The gate did not judge it."), make("ul", {}, ...checks));
}
