// What was answered, under the video: one lane a task, on one clock. Clicking seeks.

import { clock, drawing, element, percent } from "../dom.js";

const LANES = [
  ["ar", "Action"],
  ["oscc", "Change"],
  ["pnr", "When"],
];

// Every lane there is something for: its title, a segment's answer, how to say and to draw answers.
function lanesOf(segments) {
  const known = LANES.map(([task, title]) =>
    ({ task, title, kind: task, of: (one) => one[task], text: textOf[task], draw: DRAW[task] }));
  const own = [...new Set(segments.flatMap((one) => Object.keys(one.skills ?? {})))].map((name) =>
    ({ task: name, title: name, kind: "skill", of: (one) => one.skills?.[name]?.labels && one.skills[name],
      text: textOf.own, draw: DRAW.own }));
  return [...known, ...own].filter(({ of }) => segments.some(of));
}

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
    const rows = rowsOf(answer.segments);
    this.buttons = [];
    this.head = element("div", { class: "playhead", "aria-hidden": "true" });
    const lanes = lanesOf(answer.segments).map((lane) =>
      element("div", { class: "lane", "data-task": lane.task },
        element("span", { class: "lane-name", title: lane.title }, lane.title),
        element("div", { class: "track", style: { height: `${34 * rows.count}px` } },
          runsOf(lane, answer.segments, rows.of).map((run) => this.piece(lane, run)))));
    if (truth) lanes.push(this.truth(truth));
    const ruler = element("div", { class: "lane ruler", "aria-hidden": "true" },
      element("span", { class: "lane-name" }),
      element("div", { class: "track" }, ticks(this.duration).map((at) =>
        element("span", { style: { left: this.x(this.start + at) } },
          `${Number((this.start + at).toFixed(2))} s`))));
    this.extra = element("div"); // for lanes of others
    const field = element("div", { class: "lanes",
      onclick: (event) => this.seek(event) }, ruler, lanes, this.extra,
      element("div", { class: "over" }, this.head));
    this.root.replaceChildren(field);
    this.resized ??= new ResizeObserver(() => fitLabels(this.root));
    this.resized.observe(this.root);
    fitLabels(this.root);
    this.at(this.start);
  }

  x(seconds) {
    return `${(100 * (seconds - this.start)) / this.duration}%`;
  }

  share(seconds) {
    return `${(100 * seconds) / this.duration}%`;
  }

  // One button for neighbours that answer alike; inside it, the segment that is selected is outlined.
  piece({ kind, of, draw }, { first, last, row }) {
    const segments = this.segments.slice(first, last + 1);
    const [start, end] = [segments[0].start_s, segments.at(-1).end_s];
    const box = { left: this.x(start), width: this.share(end - start), top: `${34 * row}px` };
    const span = `${clock(start)} to ${clock(end)}`;
    if (!of(segments[0])) return element("span", { class: "piece", style: box });
    const [text, art] = draw(segments.map(of), segments);
    const many = segments.length > 1 ? `, ${segments.length} segments` : "";
    const button = element("button", { type: "button", class: `piece ${kind}`, style: box,
      "aria-label": `${span}${many}: ${text}`, title: `${text}\n${span}${many}`,
      "data-first": first, "data-last": last }, art, element("span", { class: "chosen" }));
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
    const track = event.target.closest(".lane")?.querySelector(".track");
    if (!track) return;
    const button = event.target.closest("[data-first]");
    const box = track.getBoundingClientRect();
    const isKeyboard = event.detail === 0;
    const share = (event.clientX - box.left) / box.width;
    const first = Number(button?.dataset.first);
    const to = isKeyboard && button ? this.segments[first].start_s
      : Math.min(Math.max(this.start + share * this.duration, this.start), this.start + this.duration);
    if (button) {
      const last = Number(button.dataset.last);
      const under = this.segments.findIndex((one, k) => k >= first && one.end_s > to);
      this.onselect(Math.min(Math.max(under, first), last));
    }
    this.onseek(to);
  }

  at(seconds) {
    const shown = Math.min(Math.max(seconds, this.start), this.start + this.duration);
    this.head.style.left = this.x(shown);
  }

  select(index) {
    const { start_s: from, end_s: to } = this.segments[index];
    for (const button of this.buttons) {
      const { first, last } = button.dataset;
      const isChosen = Number(first) <= index && index <= Number(last);
      button.setAttribute("aria-pressed", String(isChosen));
      if (!isChosen) continue;
      const [start, end] = [this.segments[first].start_s, this.segments[last].end_s];
      Object.assign(button.querySelector(".chosen").style, {
        left: `${(100 * (from - start)) / (end - start)}%`,
        width: `${(100 * (to - from)) / (end - start)}%` });
    }
  }
}

// Of the answers of a run of segments: what is said of them, and what is drawn.
const DRAW = {
  ar(answers) {
    const text = textOf.ar(answers[0]);
    const sure = (output) => range(answers.map((one) => one[output][0].probability));
    const least = Math.min(...answers.flatMap(({ verb, noun }) =>
      [verb[0].probability, noun[0].probability]));
    return [`${text}, ${sure("verb")} and ${sure("noun")}`,
      element("span", { class: "label", style: { opacity: String(0.55 + 0.45 * least) } }, text)];
  },
  own(answers) {
    const shares = answers.map(({ labels: [{ probability }] }) => probability);
    const isSure = answers.every((one) => one.is_certain !== false);
    const text = textOf.own(answers[0]);
    return [`${text}, ${range(shares)}${isSure ? "" : ", not certain"}`,
      element("span", { class: isSure ? "label" : "label unsure",
        style: { opacity: String(0.55 + 0.45 * Math.min(...shares)) } }, isSure ? text : `${text}?`)];
  },
  oscc(answers, segments) {
    const [start, end] = [segments[0].start_s, segments.at(-1).end_s];
    const bands = answers.map(({ probability }, k) => element("span", { class: "band", style: {
      left: `${(100 * (segments[k].start_s - start)) / (end - start)}%`,
      width: `${(100 * (segments[k].end_s - segments[k].start_s)) / (end - start)}%`,
      opacity: String(probability) } }));
    const { state_change: changes } = answers[0];
    const sure = range(answers.map(({ probability }) => (changes ? probability : 1 - probability)));
    return [`object state change ${range(answers.map(({ probability }) => probability))}`,
      [bands, element("span", { class: "label" }, `${textOf.oscc(answers[0])} ${sure}`)]];
  },
  pnr([{ time_s: time, probability, scores }], [{ start_s: start, end_s: end }]) {
    const share = (time - start) / (end - start);
    const parts = [];
    if (scores?.length > 1) parts.push(curve(scores));
    parts.push(element("span", { class: "marker", style: { left: `${100 * share}%` } }));
    return [`point of no return at ${clock(time)}, ${percent(probability)}`, parts];
  },
};

const textOf = {
  own: ({ labels: [{ label }] }) => label,
  ar: ({ verb, noun }) => `${verb[0].label} ${noun[0].label}`,
  oscc: ({ state_change: changes }) => (changes ? "changes" : "no change"),
};

function range(shares) {
  const [least, most] = [percent(Math.min(...shares)), percent(Math.max(...shares))];
  return least === most ? least : `${least.replace(" %", "")} to ${most}`;
}

// Runs of segments in one row, each from the end of the one before, that answer alike.
function runsOf({ of, text: say }, segments, rows) {
  const runs = [];
  segments.forEach((segment, index) => {
    const run = runs.at(-1);
    const text = of(segment) && say?.(of(segment));
    const isNext = run && text && run.text === text && run.row === rows[index]
      && Math.abs(segments[index - 1].end_s - segment.start_s) < 1e-3;
    if (isNext) run.last = index;
    else runs.push({ first: index, last: index, row: rows[index], text });
  });
  return runs;
}

const LEAST_PX = 56; // narrower, a label that is cut short says nothing

export function fitLabels(root) {
  const labels = [...root.querySelectorAll(".piece .label")];
  const isCut = labels.map((one) => one.clientWidth < LEAST_PX && one.scrollWidth > one.clientWidth);
  labels.forEach((one, k) => one.classList.toggle("cut", isCut[k]));
}

function curve(scores) {
  const most = Math.max(...scores);
  const points = scores.map((score, k) =>
    `${(100 * (k + 0.5)) / scores.length},${30 - (26 * score) / most}`);
  return drawing("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" },
    drawing("polygon", { points: `0,30 ${points.join(" ")} 100,30` }),
    drawing("polyline", { points: points.join(" ") }));
}

// Segments a caller chose may overlap: each goes into the first row where it is free.
export function rowsOf(segments) {
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
