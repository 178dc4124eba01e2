// The tab "Predict": an image comes in one of five ways, the answer is shown beside it, errors where they happen.

import { predict } from "./api.js";
import { copy, showCode } from "./code.js";
import { byId, make, paint, percent } from "./dom.js";
import { Drawing } from "./drawing.js";
import { drawHeat, occlusion } from "./occlusion.js";

let model; // what GET /model told
let drawing;
let asked = 0; // requests so far: an answer that a later one overtook is not shown
let shown; // {pixels, label} of the answer on the page
let last; // the arguments of the last classifyFile, which a changed tick calls again

export function describe(description) {
  const sheet = ({ card }) => String([...card.input.shape, paperOf({ card })]);
  if (!model) complain("");
  const first = !model || sheet(model) !== sheet(description);
  if (model && model.model !== description.model) {
    asked++; // what the other model has still to answer is not shown
    last = undefined;
    complain("");
    reveal(false);
  }
  model = description;
  if (first) drawing = new Drawing(model.card.input.shape, paperOf(model), classifyDrawing);
  byId("preprocess").closest("label").hidden = !model.preprocessing;
  showSamples();
}

// Show the answer, or that there is none. A screen reader reads both out, because they lie in a region that is always there.
function reveal(answered) {
  byId("empty").hidden = answered;
  for (const id of ["verdict", "answer"]) byId(id).hidden = !answered;
}

export function listen() {
  for (const id of ["choose", "photograph"]) {
    byId(id).addEventListener("change", (event) => {
      if (event.target.files.length) classifyFile(event.target.files[0]);
      event.target.value = ""; // so that the same file can be chosen again
    });
  }
  const drop = byId("drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    takeFrom(event.dataTransfer, "You dropped no file: drop an image file.");
  });
  document.addEventListener("paste", (event) => {
    if (event.target.matches?.("input")) return;
    takeFrom(event.clipboardData, "What was pasted holds no image: copy an image first.");
  });
  byId("preprocess").onchange = () => last && classifyFile(...last);
  byId("classify").onclick = classifyDrawing;
  byId("clear").onclick = () => drawing?.clear();
  byId("save").onclick = saveDrawing;
  byId("occlude").onclick = toggleHeat;
  for (const button of document.querySelectorAll("[data-copy]")) button.onclick = () => copy(button);
}

function takeFrom(transfer, complaint) {
  if (transfer?.files.length) classifyFile(transfer.files[0]);
  else complain(complaint);
}

// `sample`: the address of one of the server's own images, which anybody can fetch; empty for a visitor's file.
async function classifyFile(file, sample = "") {
  if (!model) return complain("The page does not know the model yet. Try again in a moment.");
  const begin = performance.now();
  last = [file, sample];
  if (file.size > model.limits.max_body_bytes - 1024) {
    asked++; // a late reply to an earlier image is not shown
    complain(`${file.name} is too large: it has ${megabytes(file.size)}, and a request may have ${megabytes(model.limits.max_body_bytes)}.`);
    reveal(false);
    return;
  }
  const form = new FormData();
  form.append("image", file, file.name || "pasted.png");
  const preprocess = Number(byId("preprocess").checked);
  const source = { name: file.name || "pasted.png", sample };
  await ask(form, model.preprocessing ? { pixels: 1, preprocess } : { pixels: 1 }, source, begin);
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

async function classifyDrawing() {
  if (!drawing) return;
  if (drawing.empty) return complain("The drawing is empty: draw something first.");
  last = undefined;
  await ask(drawing.pixels, { pixels: 1 }, { name: "drawing.png" }, performance.now());
}

async function ask(body, query, source, begin) {
  const number = ++asked;
  complain("");
  try {
    const reply = await predict(body, query);
    if (number === asked) show(reply, query, source, performance.now() - begin);
  } catch (error) {
    if (number !== asked) return;
    complain(error.message);
    reveal(false); // it was about another image
  }
}

function complain(sentence) {
  byId("problem").textContent = sentence;
}

function show(reply, query, source, milliseconds) {
  const [prediction] = reply.predictions;
  const pixels = Uint8Array.from(atob(prediction.pixels), (char) => char.charCodeAt(0));
  shown = { pixels, label: prediction.label };
  reveal(true);
  byId("label").textContent = prediction.label;
  byId("words").textContent = confidence(prediction);
  warn(prediction);
  const { shape } = model.card.input;
  paint(byId("seen"), pixels, shape);
  byId("seen").setAttribute("aria-label", `The image as the model sees it, ${shape[1]} by ${shape[0]} pixels`);
  const done = [prediction.converted, prediction.preprocessing].filter(Boolean).join("; ");
  byId("seen-caption").textContent = `As the model sees it${done ? `: ${done}` : ""}.`;
  hideHeat();
  showBars(prediction);
  byId("facts").textContent = `${reply.model} version ${reply.version}, answered in ${milliseconds.toFixed(0)} ms.`;
  showCode(source, query.preprocess === 0 ? { preprocess: 0 } : {}, model.keys_needed);
  byId("verdict").scrollIntoView({ block: "nearest" }); // on a phone the answer is below
}

// Calibrated probabilities say how often such an answer is right, for images like those of the calibration.
function confidence({ probability, top, in_distribution: known }) {
  if (known === false) return `Probability ${percent(probability)}, for images like those that the model was trained on.`;
  const { metrics, config } = model.card;
  if (!metrics.calibration || config.temperature === 1) return `Probability ${percent(probability)}, which was not calibrated.`;
  const share = Math.round(100 * probability);
  const others = top.slice(1).filter((each) => each.probability >= 0.8 * probability).map((each) => each.label);
  const alternative = others.length ? ` It could just as well be ${others.join(" or ")}.` : "";
  if (probability >= 0.995) return "Almost certain: of a hundred such answers, hardly one is wrong.";
  const often = `of a hundred such answers, about ${share} are right`;
  if (probability >= 0.9) return `Confident: ${often}.`;
  if (probability >= 0.7) return `Fairly sure: ${often}.`;
  if (probability >= 0.5) return `Unsure: ${often}.${alternative}`;
  return `A guess: ${often}.${alternative}`;
}

function warn({ in_distribution: known, distribution_score: score, note }) {
  const odd = `This image looks unlike the training images (score ${score?.toFixed(2)}; 95 % of theirs are below 1), so do not rely on the answer.`;
  byId("warning").hidden = known !== false && !note;
  byId("warning").textContent = [note, known === false ? odd : ""].filter(Boolean).join(" ");
}

function showBars({ probabilities, label }) {
  const rows = Object.entries(probabilities).sort(([, one], [, other]) => other - one).slice(0, 20).map(([name, share]) => {
    const bar = make("div", { className: "bar" });
    bar.style.width = `${100 * share}%`;
    const row = make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, bar), make("td", {}, percent(share)));
    row.className = name === label ? "best" : "";
    return row;
  });
  byId("bars").tBodies[0].replaceChildren(...rows);
}

async function toggleHeat() {
  const button = byId("occlude");
  if (button.getAttribute("aria-pressed") === "true") return hideHeat();
  button.disabled = true;
  byId("heat-words").textContent = "Covering one part after the other ...";
  const { pixels, label } = shown;
  try {
    const { shape } = model.card.input;
    const found = await occlusion(pixels, shape, label, paperOf(model), model.limits);
    if (shown.pixels !== pixels) return; // another image came meanwhile
    drawHeat(byId("heat"), found.heat, shape);
    button.setAttribute("aria-pressed", "true");
    byId("heat-words").textContent =
      found.whole - found.least < 0.02
        ? `Covering any one part hardly changes ${label}: it stays at ${percent(found.least)} or more.`
        : `The ${found.where} mattered most: covered, ${label} falls from ${percent(found.whole)} to ${percent(found.least)}.`;
  } catch (error) {
    byId("heat-words").textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

function hideHeat() {
  byId("occlude").setAttribute("aria-pressed", "false");
  byId("heat-words").textContent = "";
  byId("heat").getContext("2d").clearRect(0, 0, byId("heat").width, byId("heat").height);
}

function saveDrawing() {
  byId("canvas").toBlob((blob) => {
    const link = make("a", { href: URL.createObjectURL(blob), download: "drawing.png" });
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

// The shipped samples whose name is one of the model's classes.
function showSamples() {
  const plain = (name) => name.toLowerCase().split("/")[0];
  const classes = new Map(model.card.classes.map((each) => [plain(each), each]));
  const known = model.samples.filter((file) => classes.has(nameOf(file)));
  byId("samples").hidden = !known.length;
  if (byId("answer").hidden) showCode({ name: known[0] ?? "image.png", sample: known[0] && sampleUrl(known[0]) }, {}, model.keys_needed);
  byId("samples").querySelector(".row").replaceChildren(...known.map((file) => {
    const image = make("img", { src: sampleUrl(file), alt: classes.get(nameOf(file)), width: 48, height: 48 });
    const button = make("button", { type: "button", title: image.alt }, image);
    button.onclick = async () => {
      try {
        const blob = await (await fetch(image.src)).blob();
        await classifyFile(new File([blob], file, { type: blob.type }), image.src);
      } catch {
        complain("The sample could not be fetched: the server did not answer.");
      }
    };
    return button;
  }));
}

const sampleUrl = (file) => new URL(`page/samples/${file}`, location.href).href;
const nameOf = (file) => file.replace(/\.png$/, "").replaceAll("-", file.startsWith("t-shirt") ? "-" : " ");

// The shade of a sheet that holds nothing: black where the training images show things on black.
function paperOf({ card }) {
  return card.data.look ? 0 : 255;
}
