// What was answered, under the video: one lane a task, on one clock. Clicking seeks.

import { clock, drawing, element, percent } from "./dom.js";

const LANES = [
  ["ar", "Action"],
  ["oscc", "Change"],
  ["pnr", "When"],
];

export class Timeline {
  constructor(root, { onseek, onselect }) {
    this.root = root;
    this.onseek = onseek;
    this.onselect = onselect;
  }

  show(answer, truth) {
    this.duration = answer.input.duration_s;
    this.start = answer.input.start_s;
    this.segments = answer.segments;
    const present = LANES.filter(([task]) => answer.segments.some((one) => one[task]));
    const rows = lanesOf(answer.segments);
    this.buttons = [];
    this.head = element("div", { class: "playhead", "aria-hidden": "true" });
    const lanes = present.map(([task, title]) =>
      element("div", { class: "lane", "data-task": task },
        element("span", { class: "lane-name" }, title),
        element("div", { class: "track", style: { height: `${34 * rows.count}px` } },
          answer.segments.map((one, index) => this.piece(task, one, index, rows.of[index])))));
    if (truth) lanes.push(this.truth(truth));
    const ruler = element("div", { class: "lane ruler", "aria-hidden": "true" },
      element("span", { class: "lane-name" }),
      element("div", { class: "track" }, ticks(this.duration).map((at) =>
        element("span", { style: { left: this.x(this.start + at) } },
          `${Number((this.start + at).toFixed(2))} s`))));
    const field = element("div", { class: "lanes",
      onclick: (event) => this.seek(event) }, ruler, lanes,
      element("div", { class: "over" }, this.head));
    this.root.replaceChildren(field);
    this.at(this.start);
  }

  x(seconds) {
    return `${(100 * (seconds - this.start)) / this.duration}%`;
  }

  share(seconds) {
    return `${(100 * seconds) / this.duration}%`;
  }

  piece(task, segment, index, row) {
    const answer = segment[task];
    const box = { left: this.x(segment.start_s), width: this.share(segment.end_s - segment.start_s),
      top: `${34 * row}px` };
    const span = `${clock(segment.start_s)} to ${clock(segment.end_s)}`;
    if (!answer) return element("span", { class: "piece", style: box });
    const [text, art] = DRAW[task](answer, segment);
    const button = element("button", { type: "button", class: `piece ${task}`, style: box,
      "aria-label": `${span}: ${text}`, title: `${text}\n${span}`, "data-segment": index }, art);
    this.buttons.push(button);
    return button;
  }

  truth({ segment, ar, pnr }) {
    const [start, end] = segment;
    const text = `really: ${ar.verb} ${ar.noun}`;
    return element("div", { class: "lane truth" },
      element("span", { class: "lane-name" }, "Truth"),
      element("div", { class: "track" },
        element("span", { class: "piece", title: text,
          style: { left: this.x(start), width: this.share(end - start) } },
        element("span", { class: "label" }, text)),
        element("span", { class: "instant", title: `really at ${clock(pnr.time_s)}`,
          style: { left: this.x(pnr.time_s) } })));
  }

  seek(event) {
    const button = event.target.closest("[data-segment]");
    if (button) this.onselect(Number(button.dataset.segment));
    const track = event.target.closest(".lane")?.querySelector(".track");
    if (!track) return;
    const box = track.getBoundingClientRect();
    const isKeyboard = event.detail === 0;
    const share = (event.clientX - box.left) / box.width;
    const to = isKeyboard && button ? this.segments[button.dataset.segment].start_s
      : this.start + share * this.duration;
    this.onseek(Math.min(Math.max(to, this.start), this.start + this.duration));
  }

  at(seconds) {
    const shown = Math.min(Math.max(seconds, this.start), this.start + this.duration);
    this.head.style.left = this.x(shown);
  }

  select(index) {
    for (const button of this.buttons) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.segment) === index));
    }
  }
}

const DRAW = {
  ar({ verb, noun }) {
    const text = `${verb[0].label} ${noun[0].label}`;
    const sure = Math.min(verb[0].probability, noun[0].probability);
    return [`${text}, ${percent(verb[0].probability)} and ${percent(noun[0].probability)}`,
      element("span", { class: "label", style: { opacity: String(0.55 + 0.45 * sure) } }, text)];
  },
  oscc({ state_change: changes, probability }) {
    const text = changes ? "changes" : "no change";
    const band = element("span", { class: "band", style: { opacity: String(probability) } });
    return [`object state change ${percent(probability)}`,
      [band, element("span", { class: "label" }, `${text} ${percent(changes ? probability
        : 1 - probability)}`)]];
  },
  pnr({ time_s: time, probability, scores }, { start_s: start, end_s: end }) {
    const share = (time - start) / (end - start);
    const parts = [];
    if (scores?.length > 1) parts.push(curve(scores));
    parts.push(element("span", { class: "marker", style: { left: `${100 * share}%` } }));
    return [`point of no return at ${clock(time)}, ${percent(probability)}`, parts];
  },
};

function curve(scores) {
  const most = Math.max(...scores);
  const points = scores.map((score, k) =>
    `${(100 * (k + 0.5)) / scores.length},${30 - (26 * score) / most}`);
  return drawing("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" },
    drawing("polygon", { points: `0,30 ${points.join(" ")} 100,30` }),
    drawing("polyline", { points: points.join(" ") }));
}

// Segments a caller chose may overlap: each goes into the first row where it is free.
function lanesOf(segments) {
  const ends = [];
  const of = segments.map(({ start_s: start, end_s: end }) => {
    let row = ends.findIndex((free) => free <= start + 1e-6);
    if (row < 0) row = ends.length;
    ends[row] = end;
    return row;
  });
  return { of, count: ends.length };
}

function ticks(duration) {
  const step = [1, 2, 5, 10, 30, 60, 300, 600, 1800].find((s) => duration / s <= 8) || 3600;
  return Array.from({ length: Math.floor(duration / step) + 1 }, (_, k) => k * step);
}
