// The confusion matrix as a table of buttons; choosing one shows some test images of that cell.

import { address } from "./api.js";
import { make, percent } from "./dom.js";

const SCALE = 3; // of the small images below the matrix
const MOST_CLASSES = 50; // a table of more is slow, and nobody reads it

// -> the table. `counts`: row true class, column predicted; `index`: examples.json or null; `place`: where images go.
export function confusion(counts, classes, index, place, model) {
  place.replaceChildren();
  const shown = mostConfused(counts);
  const buttons = shown.map((truth) => shown.map((guess) => counts[truth][guess] && cell(counts[truth], truth, guess, classes)));
  const rows = buttons.map((row, at) =>
    make("tr", {}, make("th", { scope: "row" }, classes[shown[at]]), ...row.map((each) => make("td", {}, each || make("span", { className: "none" }, "0")))),
  );
  const heads = shown.map((each) => make("th", { scope: "col" }, make("span", {}, classes[each])));
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...rows));
  if (shown.length < classes.length) table.prepend(make("caption", { className: "note" }, `The ${shown.length} classes of ${classes.length} with the most mistakes.`));
  const first = buttons.flat().find(Boolean);
  if (first) first.tabIndex = 0;
  buttons.forEach((row, down) => row.forEach((button, across) => {
    if (!button) return;
    button.onkeydown = (event) => move(event, buttons, down, across);
    button.onclick = () => choose(button, table, place, examples(index, shown[down], shown[across], counts, classes, model));
  }));
  return table;
}

// The classes to show, in their order: all, or those that were most often confused with another, in either direction.
function mostConfused(counts) {
  const mistakes = counts.map(() => 0);
  counts.forEach((row, truth) => row.forEach((count, guess) => {
    if (guess === truth) return;
    mistakes[truth] += count;
    mistakes[guess] += count;
  }));
  const order = counts.map((_, truth) => truth).sort((one, other) => mistakes[other] - mistakes[one]);
  return order.slice(0, MOST_CLASSES).sort((one, other) => one - other);
}

function cell(row, truth, guess, classes) {
  const count = row[guess];
  const share = count / row.reduce((sum, each) => sum + each, 0);
  const name = `${count} of class ${classes[truth]} predicted as ${classes[guess]}`;
  const button = make("button", { type: "button", tabIndex: -1, "aria-label": name, "aria-pressed": "false" }, String(count));
  // From white to dark blue, right or wrong alike: the diagonal tells which is which.
  button.style.backgroundColor = `hsl(209 65% ${96 - 66 * Math.sqrt(share)}%)`;
  button.classList.toggle("deep", share > 0.57);
  return button;
}

// The next cell with images in the direction of the arrow; the whole matrix is one stop of the tab key.
function move(event, buttons, truth, guess) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  for (let [row, column] = [truth + step[0], guess + step[1]]; buttons[row]?.[column] !== undefined; row += step[0], column += step[1]) {
    if (!buttons[row][column]) continue;
    event.target.tabIndex = -1;
    buttons[row][column].tabIndex = 0;
    buttons[row][column].focus();
    return;
  }
}

function choose(button, table, place, content) {
  for (const other of table.querySelectorAll("[aria-pressed='true']")) other.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-pressed", "true");
  place.replaceChildren(...content);
}

function examples(index, truth, guess, counts, classes, model) {
  const total = counts[truth].reduce((sum, each) => sum + each, 0);
  const said = `${classes[truth]} predicted as ${classes[guess]}: ${counts[truth][guess]} of ${total} (${percent(counts[truth][guess] / total)}).`;
  const found = index?.cells.find((each) => each.true === truth && each.predicted === guess);
  if (!found) return [make("p", { className: "note" }, `${said} This version has no images of it.`)];
  const [height, width] = index.size;
  const sheet = new Image();
  const canvases = Array.from({ length: found.count }, (_, number) =>
    make("canvas", { width, height, role: "img", "aria-label": `Test image ${number + 1} of ${found.count}: ${classes[truth]} predicted as ${classes[guess]}` }),
  );
  sheet.onload = () => canvases.forEach((canvas, number) => {
    const at = found.first + number;
    const [left, top] = [(at % index.columns) * width, Math.floor(at / index.columns) * height];
    canvas.getContext("2d").drawImage(sheet, left, top, width, height, 0, 0, width, height);
  });
  sheet.src = address("model/files/examples.png", { model });
  canvases.forEach((canvas) => { canvas.style.width = `${Math.min(96, SCALE * width)}px`; });
  return [make("p", { className: "note" }, `${said} The first ${found.count} of them:`), make("div", { className: "examples" }, ...canvases)];
}
