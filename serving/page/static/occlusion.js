// What mattered: patches of the image are covered in turn, all in one request, and the fall of the answer is drawn.

import { predict } from "./api.js";

const PATCHES = 7; // patches that would fit side by side; they overlap by half

// -> {heat: fall of the label's probability by pixel, 0..1; fall: the largest; where: its place in words}
export async function occlusion(pixels, shape, label, paper, limits) {
  const [height, width, channels] = shape;
  const size = height * width * channels;
  const most = Math.min(limits.max_images, Math.floor(limits.max_body_bytes / size));
  const places = grid(height, width, most - 1);
  const body = new Uint8Array(size * (places.length + 1));
  body.set(pixels);
  places.forEach((place, index) => body.set(covered(pixels, shape, place, paper), size * (index + 1)));
  const reply = await predict(body);
  const [whole, ...rest] = reply.predictions.map((each) => each.probabilities[label]);
  const heat = new Float32Array(height * width);
  places.forEach(([top, left, high, wide], index) => {
    for (let y = top; y < top + high; y++) {
      // The largest fall of the patches over a pixel, so that the words and the colours name the same place.
      for (let i = y * width + left; i < y * width + left + wide; i++) heat[i] = Math.max(heat[i], whole - rest[index]);
    }
  });
  const worst = rest.indexOf(Math.min(...rest));
  return { heat, whole, least: rest[worst], where: words(places[worst], height, width) };
}

export function drawHeat(canvas, heat, [height, width]) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  const most = heat.reduce((one, other) => Math.max(one, other), 0.02); // a fall of less than 2 % is not worth a colour
  heat.forEach((fall, i) => image.data.set([255, 110, 0, 215 * Math.min(1, fall / most)], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// Patches [top, left, height, width] that overlap by half, or by less where a request may not hold so many.
function grid(height, width, most) {
  const [high, wide] = [height, width].map((side) => Math.max(1, Math.round(side / PATCHES)));
  for (let step = 0.5; ; step *= 1.5) {
    const rows = starts(height, high, step);
    const columns = starts(width, wide, step);
    const places = rows.flatMap((top) => columns.map((left) => [top, left, high, wide]));
    if (places.length <= most) return places;
    if (step > PATCHES) throw new Error(`The server takes ${most + 1} images per request, too few for this.`);
  }
}

function starts(side, size, step) {
  const found = [0];
  while (found.at(-1) < side - size) found.push(Math.min(side - size, found.at(-1) + Math.max(1, Math.round(size * step))));
  return found;
}

function covered(pixels, [, width, channels], [top, left, high, wide], paper) {
  const copy = pixels.slice();
  for (let y = top; y < top + high; y++) copy.fill(paper, (y * width + left) * channels, (y * width + left + wide) * channels);
  return copy;
}

function words([top, left, high, wide], height, width) {
  const third = (middle, names) => names[Math.min(2, Math.floor(3 * middle))];
  const row = third((top + high / 2) / height, ["top", "middle", "bottom"]);
  const column = third((left + wide / 2) / width, ["left", "centre", "right"]);
  return row === "middle" && column === "centre" ? "centre" : `${row} ${column}`;
}
