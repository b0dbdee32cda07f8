// A frame to draw lines and zones on, with the mouse or the keyboard, and the same as a list of texts.

import { announce, element, svg } from "./dom.js";
import { outline, parse, picture } from "./places.js";

/** Parts of the picture that an arrow key moves a point by; with the Shift key, more. */
const STEP = 0.01;
const LEAP = 0.1;
/** Points that are nearer than this are meant to be the same one. */
const NEAR = 0.02;
/** Milliseconds without a key until the place of a point is announced. */
const REST = 400;

const FEWEST = { line: 2, zone: 3 };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (n) => Math.round(1000 * Math.min(1, Math.max(0, n))) / 1000;
const distance = ([a, b], [c, d]) => Math.hypot(a - c, b - d);
const spoken = ([x, y]) => `${Math.round(1000 * x) / 10} % from the left, ${Math.round(1000 * y) / 10} % from the top`;
const isPoint = (point) => point.length === 2 && point.every((n) => n >= 0 && n <= 1);
const capital = (word) => word[0].toUpperCase() + word.slice(1);

/** A line or a zone. Its text is what is sent; what cannot be drawn of it is not. */
class Shape {
  points = [];

  constructor(kind, text) {
    this.kind = kind;
    this.read(text);
  }

  read(text) {
    const { head, name, points } = parse(text);
    this.text = text;
    this.head = head;
    this.name = name;
    this.points = points.every(isPoint) ? points : [];
  }

  /** The text follows from the points. */
  write() {
    this.text = `${this.head}: ${this.points.map((point) => point.join(",")).join(" ")}`;
  }
}

export class Board {
  shapes = [];
  #frame;
  #list;
  #still = null;
  #ways = [];
  #canvas = svg("svg", { tabindex: 0, role: "application", preserveAspectRatio: "none" });
  /** What is being drawn: its kind, its points, and where the next one would be. */
  #drawn = null;
  /** The point that the mouse moves: a shape and a place. */
  #dragged = null;
  #pressed = null;
  /** The points of a shape when one of them got the focus. */
  #before = null;
  #timer = null;

  /** Draws into `frame`, and lists in `list`. `help` is the id of what explains the keys. */
  constructor(frame, list, help) {
    this.#frame = frame;
    this.#list = list;
    this.#canvas.setAttribute("aria-describedby", help);
    this.#canvas.addEventListener("keydown", (event) => this.#key(event));
    this.#canvas.addEventListener("pointerdown", (event) => this.#press(event));
    this.#canvas.addEventListener("pointermove", (event) => this.#move(event));
    this.#canvas.addEventListener("pointerup", (event) => this.#release(event));
    this.#canvas.addEventListener("pointercancel", () => (this.#dragged = this.#pressed = null));
  }

  /** Shows lines and zones. */
  fill(lines, zones) {
    this.#drawn = null;
    this.shapes = [...lines.map((text) => new Shape("line", text)), ...zones.map((text) => new Shape("zone", text))];
    this.#tabulate();
    this.#draw();
  }

  /** Shows a frame, with the ways of objects. */
  show(still, ways) {
    this.#still = still;
    this.#ways = ways;
    const { frame, width, height } = still;
    this.#canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#canvas.setAttribute("aria-label", `Frame ${frame}, to draw on`);
    this.#frame.replaceChildren(picture(still, "", this.#canvas));
    this.#draw();
  }

  /** The texts of the lines or zones. */
  texts(kind) {
    return this.shapes.filter((shape) => shape.kind === kind).map(({ text }) => text.trim()).filter(Boolean);
  }

  /** Begins a line or a zone: clicks or the Enter key add its points. */
  begin(kind) {
    this.#drawn = { kind, points: [], cursor: [0.5, 0.5] };
    this.#draw();
    this.#canvas.focus();
    announce(`Drawing a ${kind}. The cursor is in the middle of the frame.`);
  }

  /** Shows why a line or zone was refused, at its text; returns false if the reason names none of them. */
  refuse(reason) {
    const refused = this.shapes.filter(({ text, name }) => reason.includes(JSON.stringify(text.trim().slice(0, 80))) || (name && reason.includes(JSON.stringify(name))));
    refused.forEach((shape) => this.#complain(shape, reason));
    refused[0]?.field.focus();
    return refused.length > 0;
  }

  /** Nothing is refused any more. */
  accept() {
    this.shapes.forEach((shape) => this.#complain(shape, ""));
  }

  #complain({ field, problem }, reason) {
    problem.textContent = reason;
    problem.hidden = !reason;
    field.ariaInvalid = reason ? "true" : null;
  }

  // The list.

  #tabulate() {
    this.#list.replaceChildren(...this.shapes.map((shape, n) => this.#row(shape, n)));
  }

  #row(shape, n) {
    const of = `${capital(shape.kind)} ${n + 1}`;
    shape.problem = element("p", { id: `shape-problem-${n}`, className: "problem", hidden: true });
    shape.field = element("input", { type: "text", value: shape.text, autocomplete: "off", spellcheck: false, attributes: { "aria-describedby": shape.problem.id } });
    shape.field.addEventListener("input", ({ target }) => {
      shape.read(target.value);
      this.#before = null;
      this.#complain(shape, "");
      this.#draw();
    });
    const button = element("button", { type: "button", className: "quiet", textContent: "Delete", ariaLabel: `Delete ${of}`, onclick: () => this.#remove(shape) });
    return element("li", {}, element("label", { className: "field" }, of, shape.field), button, shape.problem);
  }

  #remove(shape) {
    this.shapes = this.shapes.filter((other) => other !== shape);
    this.#tabulate();
    this.#draw();
    this.#canvas.focus();
    announce(`${shape.name} deleted`);
  }

  /** The text of a shape whose points have changed. */
  #changed(shape) {
    shape.write();
    shape.field.value = shape.text;
    this.#complain(shape, "");
    this.#draw();
  }

  // The drawing.

  #draw() {
    this.#canvas.classList.toggle("drawing", this.#drawn !== null);
    if (!this.#still) return;
    const focused = document.activeElement?.dataset.point;
    const { width, height } = this.#still;
    const drawable = this.shapes.filter(({ points }) => points.length > 1);
    const ordered = [...drawable].sort((a, b) => b.kind.localeCompare(a.kind));
    const marks = ordered.flatMap((shape) => outline(shape.kind, shape, this.#still));
    const handles = drawable.flatMap((shape) => shape.points.map((_, n) => this.#handle(shape, n)));
    this.#canvas.replaceChildren(...this.#ways, ...marks, ...handles, ...this.#sketch(width, height));
    if (focused) this.#canvas.querySelector(`[data-point="${focused}"]`)?.focus();
  }

  #handle(shape, n) {
    const { width, height } = this.#still;
    const [x, y] = shape.points[n];
    const label = `${shape.name}, point ${n + 1} of ${shape.points.length}: ${spoken(shape.points[n])}`;
    const point = `${this.shapes.indexOf(shape)}-${n}`;
    const handle = svg("circle", { class: "handle", cx: x * width, cy: y * height, r: width / 64, tabindex: 0, role: "button", "aria-label": label, "data-point": point });
    handle.addEventListener("focus", () => {
      if (this.#before?.point !== point) this.#before = { point, points: structuredClone(shape.points) };
    });
    return handle;
  }

  /** What is being drawn, up to the cursor. */
  #sketch(width, height) {
    if (!this.#drawn) return [];
    const { points, cursor: [x, y] } = this.#drawn;
    const corners = [...points, this.#drawn.cursor].map(([a, b]) => `${a * width},${b * height}`).join(" ");
    const size = width / 40;
    const cross = `M${x * width - size},${y * height}h${2 * size}M${x * width},${y * height - size}v${2 * size}`;
    const first = points.map(([a, b]) => svg("circle", { class: "dot", cx: a * width, cy: b * height, r: width / 90 }));
    return [svg("polyline", { class: "sketch", points: corners }), ...first, svg("path", { class: "cursor dark", d: cross }), svg("path", { class: "cursor", d: cross })];
  }

  #add(point) {
    clearTimeout(this.#timer);
    const { kind, points } = this.#drawn;
    const again = points.length > 0 && distance(points.at(-1), point) < NEAR;
    const closes = kind === "zone" && points.length > 0 && distance(points[0], point) < NEAR;
    if (again || closes) {
      if (points.length >= FEWEST[kind]) return this.#finish();
      return announce(`A ${kind} needs ${FEWEST[kind]} points: choose another place.`);
    }
    points.push(point);
    if (kind === "line" && points.length === 2) return this.#finish();
    announce(`Point ${points.length}: ${spoken(point)}`);
    return this.#draw();
  }

  #finish() {
    const { kind, points } = this.#drawn;
    const names = this.shapes.map(({ name }) => name);
    let n = 1;
    while (names.includes(`${kind}-${n}`)) n += 1;
    const shape = new Shape(kind, `${kind}-${n}: `);
    shape.points = points;
    shape.write();
    this.shapes.push(shape);
    this.#drawn = null;
    this.#tabulate();
    this.#draw();
    announce(`${capital(kind)} ${shape.name} drawn`);
  }

  #cancel() {
    clearTimeout(this.#timer);
    const { kind } = this.#drawn;
    this.#drawn = null;
    this.#draw();
    announce(`The ${kind} is cancelled`);
  }

  // Keys.

  #key(event) {
    const handled = this.#drawn ? this.#drawingKey(event) : this.#pointKey(event);
    if (handled) event.preventDefault();
  }

  #drawingKey({ key, shiftKey }) {
    const { points, cursor } = this.#drawn;
    if (ARROWS[key]) {
      this.#drawn.cursor = moved(cursor, key, shiftKey);
      this.#draw();
      this.#say(spoken(this.#drawn.cursor));
    } else if (key === "Enter" || key === " ") {
      this.#add(cursor);
    } else if (key === "Escape") {
      this.#cancel();
    } else if (key === "Delete" || key === "Backspace") {
      points.pop();
      this.#draw();
      announce(`${points.length} points left`);
    } else {
      return false;
    }
    return true;
  }

  #pointKey({ key, shiftKey, target }) {
    const at = target.dataset.point?.split("-").map(Number);
    if (!at) return false;
    const [shape, n] = [this.shapes[at[0]], at[1]];
    if (ARROWS[key]) {
      shape.points[n] = moved(shape.points[n], key, shiftKey);
      this.#say(spoken(shape.points[n]));
    } else if (key === "Enter" && shape.kind === "zone") {
      const next = shape.points[(n + 1) % shape.points.length];
      shape.points.splice(n + 1, 0, [0, 1].map((k) => within((shape.points[n][k] + next[k]) / 2)));
      announce(`Point ${n + 2} added`);
    } else if (key === "Escape" && this.#before) {
      shape.points = structuredClone(this.#before.points);
      announce("As before");
    } else if (key === "Delete" || key === "Backspace") {
      if (shape.points.length <= FEWEST[shape.kind]) {
        this.#remove(shape);
        return true;
      }
      shape.points.splice(n, 1);
      announce(`Point ${n + 1} deleted`);
    } else {
      return false;
    }
    this.#changed(shape);
    if (!this.#canvas.contains(document.activeElement)) this.#canvas.focus();
    return true;
  }

  /** Announces a place once no key has been pressed for a moment. */
  #say(text) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => announce(text), REST);
  }

  // The mouse.

  #at({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [within((clientX - left) / width), within((clientY - top) / height)];
  }

  #press(event) {
    if (event.button !== 0) return;
    const point = this.#at(event);
    const handle = event.target.dataset.point?.split("-").map(Number);
    if (this.#drawn) {
      event.preventDefault();
      this.#canvas.focus();
      this.#pressed = { point, isFirst: this.#drawn.points.length === 0 };
      this.#drawn.cursor = point;
      if (this.#pressed.isFirst) this.#add(point);
    } else if (handle) {
      event.preventDefault();
      event.target.focus();
      this.#dragged = { shape: this.shapes[handle[0]], n: handle[1] };
    }
    if (this.#drawn || handle) this.#canvas.setPointerCapture(event.pointerId);
  }

  #move(event) {
    if (this.#drawn) {
      this.#drawn.cursor = this.#at(event);
      this.#draw();
    } else if (this.#dragged) {
      const { shape, n } = this.#dragged;
      shape.points[n] = this.#at(event);
      this.#changed(shape);
    }
  }

  #release(event) {
    const point = this.#at(event);
    this.#move(event);
    const pressed = this.#pressed;
    this.#pressed = this.#dragged = null;
    if (!this.#drawn || !pressed) return;
    // The first point was added when the button was pressed: unless it was dragged, this is the same one.
    if (!pressed.isFirst || distance(pressed.point, point) >= NEAR) this.#add(point);
  }
}

function moved([x, y], key, isFar) {
  const step = isFar ? LEAP : STEP;
  const [across, down] = ARROWS[key];
  return [within(x + step * across), within(y + step * down)];
}
