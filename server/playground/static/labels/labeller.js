// What labels the clip: names, marks, the label that is chosen, the clips of the project, and files.

import { clock, element } from "../dom.js";
import { fileButtons } from "./files.js";
import { Lane, hueOf } from "./lane.js";
import { Project, markOf, nameOf, stemOf } from "./project.js";

const KEYS = "Drag on the Labels lane, or press i where a stretch begins and o where it ends. 1 to 9 name "
  + "it, Delete takes it away, Ctrl+Z and Ctrl+Y undo and redo. With the focus on a label, ← → move it, "
  + "with Shift its end, with Ctrl its start.";

export const clipName = (file) => stemOf(nameOf(file.name)).slice(0, 128).trim();

export class Labeller {
  constructor(root, video, { onopen, onchange }) {
    this.video = video;
    this.onopen = onopen;
    this.onchange = onchange;
    this.files = new Map(); // of this visit: a page may not keep them
    this.name = null;
    this.chosen = null;
    this.pending = null;
    this.current = "";
    this.project = new Project(() => this.draw());
    this.lane = new Lane(this.project, { onselect: (id) => this.choose(id),
      onmark: (span) => this.mark(span), onpreview: (seconds) => { video.currentTime = seconds; } });
    this.note = element("p", { class: "note", role: "status" });
    this.body = element("div", { class: "stack" });
    root.replaceChildren(element("h2", { id: "labelling-title" }, "Your labels ",
      element("small", {}, "kept in this browser")), this.body, this.note);
  }

  // Files that can be opened, and sent, until the page is left.
  async meet(files) {
    for (const file of files) {
      const name = clipName(file);
      this.files.set(name, file);
      const isOther = this.project.meet({ name, file: nameOf(file.name), mark: await markOf(file) });
      if (isOther) this.say(`Labels of ${name} were made on another file of that name.`);
    }
  }

  async show(file, answer, timeline) {
    this.name = null;
    this.file = file;
    if (!(file instanceof File)) return;
    await this.meet([file]);
    if (this.file !== file) return; // another was opened meanwhile
    this.name = clipName(file);
    this.chosen = this.pending = null;
    const { duration_s: duration, start_s: start, fps } = answer.input;
    this.project.meet({ name: this.name, duration_s: start + duration, fps });
    this.lane.show(timeline, this.name);
    this.draw();
  }

  say(text) {
    this.note.textContent = text;
  }

  chosenLabel() {
    return this.project.state.labels.find((one) => one.id === this.chosen);
  }

  choose(id) {
    this.chosen = id;
    this.draw();
  }

  mark(span) {
    const made = this.project.add({ video: this.name, ...span, label: this.current });
    this.say(`Marked ${clock(made.start_s)} to ${clock(made.end_s)}`
      + `${made.label ? ` as ${made.label}` : ": now give it a name"}.`);
    this.choose(made.id);
    if (!made.label && !this.project.state.names.length) this.body.querySelector("#label-name")?.focus();
  }

  // A stretch that waits for a name.
  propose({ start_s, end_s }) {
    const known = this.project.of(this.name).find((one) =>
      one.start_s === start_s && one.end_s === end_s);
    const made = known ?? this.project.add({ video: this.name, start_s, end_s, label: "" });
    this.say(`What is it from ${clock(start_s)} to ${clock(end_s)}? 1 to 9 name it, Delete takes it away.`);
    this.choose(made.id);
  }

  start() {
    this.pending = this.video.currentTime;
    this.chosen = null;
    this.say(`A stretch begins at ${clock(this.pending)}; press o where it ends.`);
    this.draw();
  }

  end() {
    const to = this.video.currentTime;
    if (this.pending === null || this.pending === to) {
      this.say("Press i where the stretch begins, then go on and press o where it ends.");
      return;
    }
    const span = { start_s: Math.min(this.pending, to), end_s: Math.max(this.pending, to) };
    this.pending = null;
    this.mark(span);
  }

  // Names the label that is chosen, and those to come.
  use(name) {
    this.current = name;
    if (this.chosen === null) {
      this.draw();
      return;
    }
    this.say(name ? `Named ${name}.` : "Its name is taken away.");
    this.project.edit(this.chosen, { label: name });
  }

  remove() {
    if (this.chosen === null) return;
    const id = this.chosen;
    this.chosen = null;
    this.project.remove(id);
    this.say("Deleted; Ctrl+Z brings it back.");
  }

  // Whether a key was for labels.
  key(event) {
    if (this.name === null || event.target.closest("input, select, textarea")) return false;
    const isControl = event.ctrlKey || event.metaKey;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.altKey) return false;
    if (isControl && key === "z") this.project[event.shiftKey ? "redo" : "undo"]();
    else if (isControl && key === "y") this.project.redo();
    else if (isControl) return false;
    else if (key === "i") this.start();
    else if (key === "o") this.end();
    else if (/^[1-9]$/.test(key)) {
      const name = this.project.state.names[Number(key) - 1];
      if (name === undefined) return false;
      this.use(name);
    } else if ((key === "Delete" || key === "Backspace") && this.chosen !== null) this.remove();
    else if (key === "Escape" && (this.chosen !== null || this.pending !== null || this.lane.held)) {
      this.lane.cancel();
      this.pending = null;
      this.choose(null);
    } else return false;
    return true;
  }

  draw() {
    this.onchange?.();
    if (this.name === null) return;
    const focus = this.body.contains(document.activeElement) ? document.activeElement.id : "";
    const chosen = this.chosenLabel();
    if (!chosen) this.chosen = null;
    this.lane.draw(this.chosen, this.pending);
    const isOpen = this.body.querySelector("details")?.open ?? false;
    this.body.replaceChildren(this.names(), this.tools(), chosen ? this.editor(chosen) : "",
      element("details", { open: isOpen }, element("summary", {},
        `Clips (${this.project.state.clips.length}) and label files`), this.clips(),
      element("div", { class: "row" }, element("span", {}, "Labels as"),
        fileButtons(this.project, this.name, (text) => this.say(text)))),
      element("p", { class: "note" }, KEYS));
    if (this.project.fault) this.say(this.project.fault);
    if (focus) document.getElementById(focus)?.focus();
  }

  names() {
    const { names, labels } = this.project.state;
    return element("div", { class: "row names" }, names.map((name, k) => {
      const count = labels.filter(({ label }) => label === name).length;
      const button = element("button", { type: "button", id: `label-${k}`, class: "name",
        "aria-pressed": String(name === this.current), onclick: () => this.use(name) },
      k < 9 && element("kbd", {}, String(k + 1)), element("span", {}, name),
      element("small", {}, `×${count}`));
      button.style.setProperty("--hue", String(hueOf(k)));
      return count ? button : [button, element("button", { type: "button", class: "name",
        "aria-label": `Forget the label ${name}`, onclick: () => this.project.removeName(name) }, "×")];
    }), element("form", { class: "bare row", onsubmit: (event) => {
      event.preventDefault();
      const name = this.project.addName(new FormData(event.target).get("name"));
      if (this.chosenLabel()?.label) this.chosen = null; // it has a name, the new one is for others
      if (name) this.use(name);
    } }, element("input", { id: "label-name", name: "name", maxlength: "200", size: "12",
      autocomplete: "off", "aria-label": "A new label", placeholder: "new label" }),
    element("button", { id: "label-add" }, "Add")));
  }

  tools() {
    const { past, future } = this.project;
    const button = (id, text, act, isOff = false) => element("button", { type: "button", id,
      disabled: isOff, onclick: act }, text);
    return element("div", { class: "row" }, button("mark-start", "Begins here (i)", () => this.start()),
      button("mark-end", "Ends here (o)", () => this.end(), this.pending === null),
      button("undo", "Undo", () => this.project.undo(), !past.length),
      button("redo", "Redo", () => this.project.redo(), !future.length));
  }

  editor({ id, start_s: start, end_s: end, label }) {
    const { names } = this.project.state;
    const at = (which, title, value) => element("label", {}, title, element("input", { type: "number",
      id: `edit-${which}`, step: "0.1", min: "0", value: String(value),
      onchange: ({ target }) => {
        const seconds = Number(target.value);
        const other = which === "start_s" ? end : start;
        const isRight = target.value !== "" && (which === "start_s" ? seconds < other : seconds > other);
        if (isRight) this.project.edit(id, { [which]: seconds });
        else this.say(`The start comes before the end (${clock(start)} to ${clock(end)}).`);
      } }));
    return element("div", { class: "row editor", role: "group", "aria-label": "The chosen label" },
      element("label", {}, "Label", element("select", { id: "edit-label",
        onchange: ({ target }) => this.use(target.value) },
      ["", ...names].map((name) => element("option", { value: name, selected: name === label },
        name || "(no name)")))),
      at("start_s", "from, s", start), at("end_s", "to, s", end),
      element("button", { type: "button", id: "edit-delete", onclick: () => this.remove() }, "Delete"));
  }

  clips() {
    return element("ul", { class: "clips" }, this.project.state.clips.map(({ name }) => {
      const file = this.files.get(name);
      const count = this.project.of(name).length;
      return element("li", {}, element("span", {}, name),
        element("small", {}, `${count} ${count === 1 ? "label" : "labels"}`),
        name === this.name ? element("small", {}, "shown")
          : file ? element("button", { type: "button", onclick: () => this.onopen(file) }, "Show")
            : element("small", {}, "choose its file again to see it"),
        element("button", { type: "button", "aria-label": `Forget ${name} and its labels`,
          onclick: () => this.project.forget(name) }, "Forget"));
    }));
  }
}
