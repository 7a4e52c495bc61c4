// What is seen of a live stream: the present answer large, the last minute as a lane, a log of events.

import { clock, element, percent } from "../dom.js";

const LANE_S = 60;
const MOST_LINES = 200;

export class Present {
  constructor(root, log) {
    this.root = root;
    this.log = log;
    this.actions = [];
    this.now = 0;
    this.big = element("p", { class: "big" }, "Looking…");
    this.change = element("p", { class: "note" });
    this.next = element("p", { class: "note" });
    this.lag = element("p", { class: "note" });
    this.lane = element("div", { class: "track", role: "img", "aria-label": "The last minute" });
    root.replaceChildren(this.big, this.change, this.lane, this.next, this.lag);
    log.replaceChildren();
  }

  take(message) {
    const show = { answer: "answer", forecast: "forecast", action: "action", skipped: "skipped" };
    if (show[message.type]) this[show[message.type]](message);
  }

  answer({ to_s, lag_ms, ar, oscc, pnr }) {
    this.now = to_s;
    if (ar) {
      const [verb, noun] = [ar.verb[0], ar.noun[0]];
      this.big.textContent = `${verb.label} ${noun.label}`;
      this.big.title = `${percent(verb.probability)}, ${percent(noun.probability)}`;
    }
    this.change.textContent = !oscc ? "" : oscc.state_change
      ? `An object changes (${percent(oscc.probability)})${pnr ? `, at ${clock(pnr.time_s)}` : ""}`
      : `Nothing changes (${percent(1 - oscc.probability)})`;
    this.lag.textContent = `${clock(to_s)}; answered ${Math.round(lag_ms)} ms after it was seen`;
    this.draw();
  }

  forecast({ lta }) {
    if (!lta) return;
    const steps = lta.steps.slice(0, 4)
      .map(({ verb, noun }) => `${verb[0].label} ${noun[0].label}`);
    this.next.textContent = `Next: ${steps.join(", ")}, …`;
  }

  action(event) {
    const words = `${event.verb} ${event.noun}`;
    if (event.event === "start") {
      this.actions.push({ words, start: event.start_s, end: null });
      this.write(`${clock(event.start_s)}  ${words}`);
      return;
    }
    const open = this.actions.findLast((one) => one.end === null && one.words === words);
    if (open) open.end = event.end_s;
    else this.actions.push({ words, start: event.start_s, end: event.end_s });
    this.draw();
  }

  skipped({ from_s, to_s }) {
    this.write(`${clock(from_s)}  left out up to ${clock(to_s)}: the server cannot keep up`);
  }

  write(line) {
    this.log.append(element("p", {}, line));
    while (this.log.childElementCount > MOST_LINES) this.log.firstElementChild.remove();
    this.log.scrollTop = this.log.scrollHeight;
  }

  draw() {
    const from = Math.max(0, this.now - LANE_S);
    const span = Math.max(10, this.now - from);
    this.actions = this.actions.filter(({ end }) => end === null || end > from);
    this.lane.replaceChildren(...this.actions.map(({ words, start, end }) => {
      const [left, right] = [Math.max(from, start), end ?? this.now];
      return element("span", { class: "piece", title: words, style: {
        left: `${(100 * (left - from)) / span}%`,
        width: `${(100 * Math.max(0, right - left)) / span}%` } },
      element("span", { class: "label" }, words));
    }));
  }
}
