// A sheet of the model's own size to draw on, with a finger, a mouse or the keyboard.

import { byId, paint } from "./dom.js";

const MOVES = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

export class Drawing {
  // `asked` is called with the pixels when a stroke ends or enter is pressed.
  constructor(shape, paper, asked) {
    [this.height, this.width, this.channels] = shape;
    this.paper = paper;
    this.ink = 255 - paper;
    this.asked = asked;
    this.pen = [Math.floor(this.width / 2), Math.floor(this.height / 2)];
    this.clear();
    const box = byId("paper");
    box.onpointerdown = (event) => this.stroke(event);
    box.onpointermove = (event) => event.buttons && this.stroke(event);
    box.onpointerup = () => this.asked();
    box.onkeydown = (event) => this.type(event);
    box.onfocus = () => this.show();
    box.onblur = () => this.show();
  }

  clear() {
    this.grey = new Uint8Array(this.width * this.height).fill(this.paper);
    this.show();
  }

  get empty() {
    return this.grey.every((each) => each === this.paper);
  }

  // As the model takes them: height x width x channels.
  get pixels() {
    const pixels = new Uint8Array(this.grey.length * this.channels);
    this.grey.forEach((each, i) => pixels.fill(each, this.channels * i, this.channels * (i + 1)));
    return pixels;
  }

  stroke(event) {
    event.preventDefault();
    const box = byId("canvas").getBoundingClientRect();
    if (event.type === "pointerdown") byId("paper").setPointerCapture(event.pointerId);
    this.dab(((event.clientX - box.left) / box.width) * this.width, ((event.clientY - box.top) / box.height) * this.height);
    this.show();
  }

  // A soft round brush, wide as the strokes of things in the training images.
  dab(x, y, ink = this.ink) {
    const reach = this.width / 18;
    for (let row = Math.max(0, Math.floor(y - reach)); row < Math.min(this.height, y + reach); row++) {
      for (let column = Math.max(0, Math.floor(x - reach)); column < Math.min(this.width, x + reach); column++) {
        const cover = Math.max(0, Math.min(1, reach + 0.5 - Math.hypot(column + 0.5 - x, row + 0.5 - y)));
        const at = row * this.width + column;
        const mixed = this.paper + (ink - this.paper) * cover;
        if (ink === this.paper ? cover > 0.5 : Math.abs(mixed - this.paper) > Math.abs(this.grey[at] - this.paper)) this.grey[at] = mixed;
      }
    }
  }

  type(event) {
    const move = MOVES[event.key];
    if (move) this.pen = this.pen.map((each, axis) => Math.max(0, Math.min([this.width, this.height][axis] - 1, each + move[axis])));
    else if (event.key === " ") this.dab(this.pen[0] + 0.5, this.pen[1] + 0.5);
    else if (event.key === "Backspace") this.dab(this.pen[0] + 0.5, this.pen[1] + 0.5, this.paper);
    else if (event.key === "Enter") this.asked();
    else return;
    event.preventDefault();
    this.show();
  }

  show() {
    paint(byId("canvas"), this.grey, [this.height, this.width, 1]);
    const pen = byId("pen");
    pen.hidden = !byId("paper").matches(":focus-visible");
    const place = { left: this.pen[0] / this.width, top: this.pen[1] / this.height, width: 1 / this.width, height: 1 / this.height };
    for (const [side, share] of Object.entries(place)) pen.style[side] = `${100 * share}%`;
  }
}
