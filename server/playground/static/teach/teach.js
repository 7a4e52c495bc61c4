// Teaching: the labels of this browser and their clips go to the server, and a skill comes back.

import { Problem, get, keepClip, send, teach } from "../api.js";
import { element, renew } from "../dom.js";
import { showReport } from "./report.js";
import { Skills, pathOf } from "./skills.js";
import { showSuggestions } from "./suggest.js";

const NAME = "[a-z][a-z0-9_\\-]{0,31}";
const KINDS = [["segment", "a stretch among others"], ["graph", "a stretch as a whole"]];
const SUGGESTIONS = 5;
const RETRY_MS = 3000;

export class Teach {
  // `onask(seconds)` asks about the clip that is shown in stretches of that length, `ongo(segment)`
  // goes to a stretch of a clip, `onkept(clips)` hears what the server keeps.
  constructor(root, labeller, { onask, ongo, onkept = () => {} }) {
    this.root = root;
    this.labeller = labeller;
    this.project = labeller.project;
    this.tell = { onask, ongo, onkept };
    this.counts = element("p", { class: "note" });
    this.status = element("p", { role: "status" });
    this.bar = element("progress", { max: "1", "aria-label": "Progress of teaching", hidden: true });
    this.stop = element("button", { type: "button", id: "teach-stop", hidden: true,
      onclick: () => this.running?.abort() }, "Stop");
    this.fault = element("div", { role: "alert", class: "problem", hidden: true });
    this.report = element("div", { class: "stack report" });
    this.next = element("div", { class: "stack" });
    this.skills = new Skills(element("div", { class: "stack skills" }), {
      onreport: (report) => this.show(report), onchange: () => this.refresh(),
      onfail: (error) => this.fail(error) });
  }

  // Where teaching is off nothing of it is shown.
  async start() {
    const isOn = await this.skills.refresh().then(() => true, (error) => {
      if (!(error instanceof Problem)) throw error;
      if (error.retryable) setTimeout(() => this.start(), RETRY_MS); // it is starting
      return false;
    });
    this.root.hidden = !isOn;
    if (!isOn) return;
    const { clips, keeps_videos: mayKeepVideos } = await get("v1/clips");
    this.mayKeepVideos = mayKeepVideos;
    this.tell.onkept(clips);
    this.root.replaceChildren(element("h2", { id: "teach-title" }, "Teach a skill"), this.form(),
      this.counts, element("div", { class: "row" }, this.status, this.stop), this.bar, this.fault,
      this.report, this.next, this.skills.root);
    this.draw();
  }

  form() {
    const { name = "", kind = "segment" } = this.project.state.task;
    this.videos = element("input", { type: "checkbox", id: "teach-videos" });
    this.none = element("select", { id: "teach-none",
      onchange: ({ target }) => this.project.setTask({ none: target.value }) });
    return element("form", { class: "bare row fields", onsubmit: (event) => {
      event.preventDefault();
      this.press();
    } },
    element("label", {}, "Its name", element("input", { id: "teach-name", required: true, pattern: NAME,
      value: name, size: "12", autocomplete: "off", title: "a-z, 0-9, _ and -, a letter first",
      onchange: ({ target }) => this.project.setTask({ name: target.value }) })),
    element("label", {}, "It looks at", element("select", { id: "teach-kind",
      onchange: ({ target }) => this.project.setTask({ kind: target.value }) },
    KINDS.map(([value, text]) => element("option", { value, selected: value === kind }, text)))),
    element("label", {}, "None of these is", this.none),
    this.mayKeepVideos && element("label", {}, this.videos, "The server keeps the videos, too"),
    element("button", { class: "primary", id: "teach" }, "Teach"),
    element("button", { type: "button", id: "suggest", onclick: () => this.suggest() },
      "What to label next"));
  }

  // The labels have changed.
  draw() {
    if (this.root.hidden || !this.none) return;
    const { names, task } = this.project.state;
    const count = this.countLabels();
    this.none.replaceChildren(...["", ...names].map((name) =>
      element("option", { value: name, selected: name === (task.none ?? "") }, name || "no label")));
    this.counts.textContent = count.size
      ? `Labels: ${[...count].map(([name, many]) => `${many} × ${name}`).join(", ")}. `
        + "A few of each are enough to begin; the clips go to this server, which keeps what it sees in them."
      : "Mark stretches of your clips above, with at least two different labels.";
  }

  labels() {
    return this.project.state.labels.filter(({ label }) => label).map(({ id, ...label }) => label);
  }

  countLabels() {
    const count = new Map();
    for (const { label } of this.labels()) count.set(label, (count.get(label) ?? 0) + 1);
    return count;
  }

  request() {
    const count = this.countLabels();
    const names = this.project.state.names.filter((name) => count.has(name));
    if (names.length < 2) {
      throw new Problem({ code: "labels-missing", title: "There is too little to tell apart",
        detail: "Give stretches of your clips at least two different labels." }, 0);
    }
    return { task: { ...this.task(), labels: names }, labels: this.labels() };
  }

  task() {
    const [name, kind] = ["name", "kind"].map((id) => this.root.querySelector(`#teach-${id}`).value);
    return { name, kind };
  }

  // `replaced` is a clip on the server that makes room for one of the same name.
  press(replaced) {
    return this.run(async (how) => {
      const wanted = this.request();
      if (replaced) await send("DELETE", `v1/clips/${encodeURIComponent(replaced.id)}`);
      await this.sendClips(wanted.labels, how);
      how.told("Sending the labels…");
      const none = this.none.value;
      const report = await teach({ ...wanted, activate: true,
        ...(wanted.task.labels.includes(none) && { none_label: none }) }, how);
      this.next.replaceChildren();
      this.show(report);
      await this.refresh();
      return `${report.name} is learnt, and served as version ${report.version}.`;
    });
  }

  // Of the clips whose files are here; labels may be few or none.
  suggest() {
    return this.run(async (how) => {
      const labels = this.labels();
      const { name, kind } = this.task();
      await this.sendClips(labels, how);
      const clips = [...this.labeller.files.keys()];
      for (const clip of clips) await this.keep(clip, how);
      how.told("Looking for what would teach most…");
      const { segments } = await send("POST", "v1/skills/suggest", { task: { name: name || "new", kind },
        ...(labels.length && { labels }), ...(clips.length && { clips }), count: SUGGESTIONS,
        segment_s: this.usualLength() });
      showSuggestions(this.next, segments, { ongo: this.tell.ongo });
      return `Looked at ${clips.length || "all"} clips.`;
    });
  }

  // Half of the labels are at least so long; what a clip is asked about in.
  usualLength() {
    const lengths = this.labels().map(({ start_s: start, end_s: end }) => end - start);
    const middle = lengths.sort((a, b) => a - b)[Math.floor(lengths.length / 2)] ?? 8;
    return Math.max(0.5, Math.round(10 * middle) / 10);
  }

  async sendClips(labels, how) {
    this.kept = (await get("v1/clips")).clips;
    const names = [...new Set(labels.map(({ video }) => video))];
    const missing = names.filter((name) => !this.labeller.files.has(name) && !this.keptAs(name));
    if (missing.length) {
      throw new Problem({ code: "clips-missing", title: "Some clips have to be chosen again",
        detail: "A page may not keep files over a reload, and this server has not seen these: "
          + `${missing.join(", ")}.` }, 0);
    }
    for (const name of names) await this.keep(name, how);
  }

  keptAs(name) {
    return this.kept.find((one) => one.name === name);
  }

  // A clip is sent once: what it is kept as is noted with the mark of its file.
  async keep(name, { told, signal }) {
    const file = this.labeller.files.get(name);
    const { mark, sent } = this.project.clip(name) ?? {};
    if (!file || (sent && sent.mark === mark && sent.id === this.keptAs(name)?.id)) return;
    const { id } = await keepClip(name, file, { signal, keepVideo: this.videos.checked,
      told: (what, share) => told(what === "Looking at it…" ? `Watching ${name}…` : `Sending ${name}…`,
        share) }).catch((error) => {
      if (error.code === "clip-exists") error.replace = this.keptAs(name);
      throw error;
    });
    this.project.meet({ name, sent: { id, mark } });
  }

  async run(act) {
    if (this.running) return;
    this.running = new AbortController();
    const { signal } = this.running;
    this.fault.hidden = true;
    this.busy(true);
    try {
      this.status.textContent = await act({ signal, told: (what, share = null) => {
        this.status.textContent = what;
        if (share === null) this.bar.removeAttribute("value");
        else this.bar.value = share;
      } });
    } catch (error) {
      this.status.textContent = error.name === "AbortError" ? "Stopped." : "";
      if (error.name !== "AbortError") this.fail(error);
    } finally {
      this.running = null;
      this.busy(false);
    }
  }

  busy(isBusy) {
    for (const id of ["teach", "suggest"]) this.root.querySelector(`#${id}`).disabled = isBusy;
    this.bar.hidden = this.stop.hidden = !isBusy;
  }

  fail(error) {
    if (!(error instanceof Problem)) throw error;
    const { replace } = error;
    renew(this.fault, element("strong", {}, error.title || "That did not work"),
      error.message !== error.title && element("p", {}, error.message),
      error.errors.length > 0 && element("ul", {}, error.errors.map(({ pointer, detail }) =>
        element("li", {}, pointer ? `${this.named(pointer)}: ${detail}` : detail))),
      replace && element("button", { type: "button", onclick: () => this.press(replace) },
        `Replace ${replace.name} on the server`),
      element("p", { class: "note" }, error.code));
    this.fault.hidden = false;
  }

  // The label that a pointer such as /labels/3/end_s is about.
  named(pointer) {
    const label = this.labels()[/^\/labels\/(\d+)/.exec(pointer)?.[1]];
    return label ? `${label.video}, ${label.start_s} to ${label.end_s} s, ${label.label}` : pointer;
  }

  show(report) {
    const length = this.usualLength();
    showReport(this.report, report, { onserve: async (threshold) => {
      const { name, version } = report;
      await this.run(async () => {
        await send("POST", pathOf(name, "activate"), { version, threshold });
        await this.refresh();
        return `${name} ${version} is served, certain from ${threshold} on.`;
      });
    } });
    this.report.append(element("div", { class: "row" }, element("button", { type: "button",
      id: "ask", class: "primary", onclick: () => this.tell.onask(length) },
    `Ask about this clip, in stretches of ${length} s`)));
  }

  refresh() {
    return this.skills.refresh();
  }
}
