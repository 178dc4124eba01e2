// Charts as SVG: the curves of training and the reliability of the probabilities.

import { draw, make, percent } from "./dom.js";

const [WIDE, HIGH, LEFT, BOTTOM, TOP, RIGHT] = [320, 200, 40, 26, 30, 12]; // titles and legends are above TOP
const TITLE = 14; // their baseline

export function curves(history, kept) {
  const epochs = history.loss.length;
  const last = (key) => history[key].at(-1);
  return make("div", {}, ...["loss", "accuracy"].map((key) => {
    const both = [history[key], history[`val_${key}`]];
    const [low, high] = [Math.min(...both.flat()), Math.max(...both.flat())];
    const words = `${key} over ${epochs} epochs: training ends at ${last(key).toFixed(3)}, validation at ${last(`val_${key}`).toFixed(3)}; epoch ${kept} was kept`;
    const [x, y] = scales([0, Math.max(1, epochs - 1)], [low, high]);
    const line = (values, kind) => draw("polyline", { class: kind, points: values.map((each, i) => `${x(i)},${y(each)}`).join(" ") });
    const svg = frame(words, [[x(0), "1"], [x(epochs - 1), String(epochs)]], [[y(low), low.toFixed(2)], [y(high), high.toFixed(2)]]);
    svg.append(draw("line", { class: "axis", x1: x(kept - 1), x2: x(kept - 1), y1: TOP, y2: HIGH - BOTTOM }));
    svg.append(line(both[0], "training"), line(both[1], "validation"));
    svg.append(title(key[0].toUpperCase() + key.slice(1)), label(WIDE - 136, TITLE, "training", "training", "end"));
    svg.append(label(WIDE - RIGHT, TITLE, "validation (dashed)", "validation", "end"));
    return svg;
  }), make("p", { className: "note" }, `The vertical line marks the epoch that was kept, ${kept} of ${epochs}.`));
}

export function calibration({ calibrated, raw, temperature }) {
  const bins = calibrated.confidence.map((each, i) => [each, calibrated.accuracy[i], calibrated.counts[i]]).filter(([each]) => each !== null);
  const [x, y] = scales([0, 1], [0, 1]);
  const svg = frame(
    `Accuracy against confidence in ${bins.length} bins: ${bins.map(([said, right]) => `${percent(said)} confident, ${percent(right)} correct`).join("; ")}`,
    [[x(0), "0"], [x(0.5), "confidence"], [x(1), "1"]],
    [[y(0), "0"], [y(1), "1"]],
  );
  svg.append(draw("line", { class: "axis", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }), title("Share classified correctly"));
  const most = Math.max(...bins.map(([, , count]) => count));
  for (const [said, right, count] of bins) svg.append(draw("circle", { class: "dot", cx: x(said), cy: y(right), r: 2.5 + 4 * Math.sqrt(count / most) }));
  const words = `On the diagonal, probabilities equal the observed accuracy; a larger dot stands for more test images. Expected calibration error ${percent(calibrated.ece)}, and ${percent(raw.ece)} before the temperature of ${temperature.toFixed(2)}.`;
  return make("div", {}, svg, make("p", { className: "note" }, words));
}

function scales([left, right], [low, high]) {
  const span = high - low || 1;
  return [(value) => LEFT + ((WIDE - LEFT - RIGHT) * (value - left)) / (right - left), (value) => HIGH - BOTTOM - ((HIGH - BOTTOM - TOP - 4) * (value - low)) / span];
}

function frame(words, across, up) {
  const svg = draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": words });
  svg.append(draw("polyline", { class: "axis", points: `${LEFT},${TOP} ${LEFT},${HIGH - BOTTOM} ${WIDE - RIGHT},${HIGH - BOTTOM}` }));
  for (const [x, text] of across) svg.append(label(x, HIGH - 8, text, "", "middle"));
  for (const [y, text] of up) svg.append(label(LEFT - 6, y + 4, text, "", "end"));
  return svg;
}

const title = (text) => label(LEFT, TITLE, text, "title");

function label(x, y, text, kind = "", anchor = "start") {
  return draw("text", { x, y, class: kind, "text-anchor": anchor }, text);
}
