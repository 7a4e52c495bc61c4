// The lane of labels on the timeline: a drag over it marks a stretch, one at a label moves or resizes it.

import { fitLabels, rowsOf } from "../answers/timeline.js";
import { clock, element } from "../dom.js";

const ROW_PX = 34;
const LEAST_PX = 4; // a shorter drag is a click
const STEP_S = 0.1;

export class Lane {
  constructor(project, { onselect, onmark, onpreview }) {
    this.project = project;
    this.tell = { onselect, onmark, onpreview };
    this.track = element("div", { class: "track mine", role: "group", "aria-label": "Your labels",
      onpointerdown: (event) => this.take(event), onpointermove: (event) => this.drag(event),
      onpointerup: () => this.drop(), onpointercancel: () => this.cancel(),
      onkeydown: (event) => this.key(event) });
    this.track.addEventListener("click", (event) => {
      if (this.hasDragged) event.stopPropagation(); // the timeline would go there
      this.hasDragged = false;
    }, true);
    this.root = element("div", { class: "lane" },
      element("span", { class: "lane-name" }, "Labels"), this.track);
  }

  // Labels of a video, on the clock of a timeline that shows it.
  show(timeline, video) {
    this.timeline = timeline;
    this.video = video;
    timeline.extra.replaceChildren(this.root);
  }

  draw(chosen, pending) {
    this.chosen = chosen;
    this.pending = pending;
    const focused = this.track.contains(document.activeElement)
      ? document.activeElement.dataset.id : null;
    const labels = this.project.of(this.video);
    const order = labels.toSorted((a, b) => a.start_s - b.start_s);
    const rows = rowsOf(order);
    this.track.style.height = `${ROW_PX * Math.max(1, rows.count)}px`;
    this.track.replaceChildren(
      ...order.map((one, k) => this.piece(one, rows.of[k], k, order.length)),
      ...(pending === null ? [] : [element("span", { class: "pending", title: "begins here",
        style: { left: this.timeline.x(pending) } })]));
    fitLabels(this.track);
    if (focused) this.track.querySelector(`[data-id="${focused}"]`)?.focus();
  }

  piece(one, row, k, count) {
    const text = one.label || "without a name";
    const span = `${clock(one.start_s)} to ${clock(one.end_s)}`;
    const piece = element("button", { type: "button", "data-id": one.id, title: `${text}\n${span}`,
      class: one.label ? "piece mine" : "piece mine nameless",
      "aria-label": `${text}, ${span}, ${k + 1} of ${count}`,
      "aria-pressed": String(one.id === this.chosen),
      style: { ...this.box(one.start_s, one.end_s), top: `${ROW_PX * row}px` },
      onclick: () => this.tell.onselect(one.id) },
    element("span", { class: "grip", "data-end": "start_s" }),
    element("span", { class: "label" }, one.label || "?"),
    element("span", { class: "grip", "data-end": "end_s" }));
    piece.style.setProperty("--hue", String(hueOf(this.project.state.names.indexOf(one.label))));
    return piece;
  }

  box(start, end) {
    return { left: this.timeline.x(start), width: this.timeline.share(end - start) };
  }

  secondsAt(event) {
    const box = this.track.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return this.timeline.start + share * this.timeline.duration;
  }

  take(event) {
    this.hasDragged = false;
    if (event.button !== 0) return;
    const piece = event.target.closest("[data-id]");
    const at = this.secondsAt(event);
    const id = piece ? Number(piece.dataset.id) : null;
    const known = id && this.project.state.labels.find((one) => one.id === id);
    this.held = { id, at, x: event.clientX, end: event.target.dataset.end, known,
      piece: piece ?? element("span", { class: "piece mine ghost" }),
      now: known ? { start_s: known.start_s, end_s: known.end_s } : { start_s: at, end_s: at } };
    this.pointer = event.pointerId;
  }

  drag(event) {
    if (!this.held || event.pointerId !== this.pointer) return;
    const { held } = this;
    if (!this.hasDragged && Math.abs(event.clientX - held.x) < LEAST_PX) return;
    if (!this.hasDragged) {
      this.hasDragged = true;
      this.track.setPointerCapture(this.pointer);
      if (!held.id) this.track.append(held.piece);
    }
    const to = this.secondsAt(event);
    held.now = moved(held, to, this.timeline);
    Object.assign(held.piece.style, this.box(held.now.start_s, held.now.end_s));
    this.tell.onpreview(held.end === "start_s" || (!held.end && held.id) ? held.now.start_s : to);
  }

  drop() {
    const { held } = this;
    this.held = null;
    if (!held || !this.hasDragged) return;
    if (held.id) {
      this.project.edit(held.id, held.now);
      this.tell.onselect(held.id);
    } else this.tell.onmark(held.now);
  }

  cancel() {
    this.held = null;
    this.hasDragged = false;
    if (this.timeline) this.draw(this.chosen, this.pending);
  }

  // ← → move the label that has the focus, with Shift its end, with Ctrl its start.
  key(event) {
    const id = Number(event.target.dataset.id);
    const step = { ArrowLeft: -STEP_S, ArrowRight: STEP_S }[event.key];
    if (!id || !step || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const known = this.project.state.labels.find((one) => one.id === id);
    const end = event.shiftKey ? "end_s" : event.ctrlKey || event.metaKey ? "start_s" : undefined;
    const at = end ? known[end] : known.start_s;
    const now = moved({ id, at, end, known, now: known }, at + step, this.timeline);
    this.project.edit(id, { start_s: now.start_s, end_s: now.end_s });
    this.tell.onselect(id);
    this.tell.onpreview(end === "end_s" ? now.end_s : now.start_s);
  }
}

// Where a stretch is after a drag to an instant: a new one from where it began, one end, or all of it.
function moved({ id, at, end, known }, to, { start: least, duration }) {
  const most = least + duration;
  const within = (seconds) => Math.min(most, Math.max(least, seconds));
  if (!id) return { start_s: Math.min(at, to), end_s: Math.max(at, to) };
  if (end === "start_s") return { start_s: within(Math.min(to, known.end_s - 0.05)), end_s: known.end_s };
  if (end === "end_s") return { start_s: known.start_s, end_s: within(Math.max(to, known.start_s + 0.05)) };
  const by = Math.min(most - known.end_s, Math.max(least - known.start_s, to - at));
  return { start_s: known.start_s + by, end_s: known.end_s + by };
}

export const hueOf = (index) => (index < 0 ? 0 : (200 + 137.5 * index) % 360);
