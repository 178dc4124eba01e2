// The confusion matrix as a table of buttons; choosing one shows some test images of that cell.

import { address } from "./api.js";
import { make, percent } from "./dom.js";

const SCALE = 3; // of the small images below the matrix

// -> the table. `counts`: row true class, column predicted; `index`: examples.json or null; `place`: where images go.
export function confusion(counts, classes, index, place) {
  place.replaceChildren();
  const buttons = counts.map((row, truth) => row.map((count, guess) => count && cell(count, row, truth, guess, classes)));
  const rows = buttons.map((row, truth) =>
    make("tr", {}, make("th", { scope: "row" }, classes[truth]), ...row.map((each) => make("td", {}, each || make("span", { className: "none" }, "0")))),
  );
  const heads = classes.map((name) => make("th", { scope: "col" }, make("span", {}, name)));
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...rows));
  const first = buttons.flat().find(Boolean);
  if (first) first.tabIndex = 0;
  buttons.forEach((row, truth) => row.forEach((button, guess) => {
    if (!button) return;
    button.onkeydown = (event) => move(event, buttons, truth, guess);
    button.onclick = () => choose(button, table, place, examples(index, truth, guess, counts, classes));
  }));
  return table;
}

function cell(count, row, truth, guess, classes) {
  const share = count / row.reduce((sum, each) => sum + each, 0);
  const name = `${count} of class ${classes[truth]} predicted as ${classes[guess]}`;
  const button = make("button", { type: "button", tabIndex: -1, "aria-label": name, "aria-pressed": "false" }, String(count));
  // From white to dark blue, right or wrong alike: the diagonal tells which is which.
  button.style.backgroundColor = `hsl(209 65% ${96 - 66 * Math.sqrt(share)}%)`;
  button.classList.toggle("deep", share > 0.55);
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

function examples(index, truth, guess, counts, classes) {
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
  sheet.src = address("model/files/examples.png");
  canvases.forEach((canvas) => { canvas.style.width = `${Math.min(96, SCALE * width)}px`; canvas.style.height = "auto"; });
  return [make("p", { className: "note" }, `${said} The first ${found.count} of them:`), make("div", { className: "examples" }, ...canvases)];
}
