// Labels of several clips, kept in this browser: every change is saved, and can be undone.

const PLACE = "egopack.labels.v1";
const MOST_STEPS = 200; // that can be undone
const LEAST_S = 0.05; // the shortest stretch
const EMPTY = { clips: [], labels: [], names: [], task: {} };

export class Project {
  constructor(onchange, storage = localStorage) {
    this.onchange = onchange;
    this.storage = storage;
    this.fault = "";
    this.load();
    addEventListener("storage", ({ key }) => {
      if (key !== PLACE) return; // another tab has changed it
      this.load();
      this.onchange();
    });
  }

  load() {
    this.past = [];
    this.future = [];
    this.state = EMPTY;
    this.next = 1;
    try {
      const { clips, labels, names, task } = JSON.parse(this.storage.getItem(PLACE)) ?? EMPTY;
      this.state = { clips, labels: labels.map((one) => this.numbered(one)), names, task };
    } catch (error) {
      this.fault = `What was kept in this browser cannot be read: ${error.message}`;
    }
  }

  save() {
    try {
      const labels = this.state.labels.map(({ id, ...label }) => label);
      this.storage.setItem(PLACE, JSON.stringify({ ...this.state, labels }));
      this.fault = "";
    } catch (error) {
      this.fault = `Not saved in this browser: ${error.message} Export your labels.`;
    }
    this.onchange();
  }

  // A change that can be undone.
  change(part) {
    this.past = [...this.past.slice(1 - MOST_STEPS), this.state];
    this.future = [];
    this.state = { ...this.state, ...part };
    this.save();
  }

  undo() {
    this.step(this.past, this.future);
  }

  redo() {
    this.step(this.future, this.past);
  }

  step(from, to) {
    if (!from.length) return;
    to.push(this.state);
    const { task } = this.state;
    this.state = { ...from.pop(), task };
    this.save();
  }

  of(video) {
    return this.state.labels.filter((one) => one.video === video);
  }

  clip(name) {
    return this.state.clips.find((one) => one.name === name);
  }

  // Notes a clip that is there; returns whether labels under its name were made on another file.
  meet(clip) {
    const known = this.clip(clip.name);
    const isOther = Boolean(known?.mark && clip.mark) && known.mark !== clip.mark
      && this.of(clip.name).length > 0;
    const put = (state) => {
      const old = state.clips.find(({ name }) => name === clip.name);
      const clips = old ? state.clips.map((one) => (one === old ? { ...one, ...clip } : one))
        : [...state.clips, clip];
      return { ...state, clips };
    };
    this.state = put(this.state); // undoing a mark takes no clip away
    this.past = this.past.map(put);
    this.future = this.future.map(put);
    this.save();
    return isOther;
  }

  forget(name) {
    this.change({ clips: this.state.clips.filter((one) => one.name !== name),
      labels: this.state.labels.filter((one) => one.video !== name) });
  }

  add(label) {
    const made = this.numbered(this.bounded(label));
    if (this.hasSplits()) made.split ??= "train";
    this.change({ labels: [...this.state.labels, made], names: withNames(this.state.names, [made]) });
    return made;
  }

  edit(id, part) {
    const labels = this.state.labels.map((one) =>
      (one.id === id ? this.bounded({ ...one, ...part }) : one));
    this.change({ labels, names: withNames(this.state.names, labels) });
  }

  remove(id) {
    this.change({ labels: this.state.labels.filter((one) => one.id !== id) });
  }

  addName(text) {
    const name = nameOf(text);
    if (name && !this.state.names.includes(name)) this.change({ names: [...this.state.names, name] });
    return name;
  }

  removeName(name) {
    this.change({ names: this.state.names.filter((one) => one !== name) });
  }

  setTask(part) {
    this.state = { ...this.state, task: { ...this.state.task, ...part } };
    this.save();
  }

  // Takes labels in that were not there before; returns how many.
  take(labels) {
    const known = new Set(this.state.labels.map(keyOf));
    const isNew = (one) => !known.has(keyOf(one)) && Boolean(known.add(keyOf(one)));
    const found = labels.map((one) => ({ ...one, label: nameOf(one.label) })).filter(isNew)
      .map((one) => this.numbered(one));
    const all = [...this.state.labels, ...found];
    const hasSplits = all.some(({ split }) => split);
    const videos = [...new Set(found.map(({ video }) => video))].filter((name) => !this.clip(name));
    this.change({
      labels: hasSplits ? all.map((one) => ({ ...one, split: one.split ?? "train" })) : all,
      clips: [...this.state.clips, ...videos.map((name) => ({ name }))],
      names: withNames(this.state.names, found) });
    return found.length;
  }

  hasSplits() {
    return this.state.labels.some(({ split }) => split);
  }

  numbered(label) {
    return { ...label, id: this.next++ };
  }

  bounded({ start_s: start, end_s: end, ...label }) {
    const most = this.clip(label.video)?.duration_s ?? Infinity;
    const from = Math.max(0, Math.min(start, end, most - LEAST_S));
    return { ...label, start_s: ms(from), end_s: ms(Math.min(most, Math.max(start, end, from + LEAST_S))) };
  }
}

// A label's name: one line without characters that no file keeps.
export function nameOf(text) {
  return String(text).replace(/[\u0000-\u001f\u007f-\u009f\ufffe\uffff]+/g, " ").toWellFormed().trim()
    .slice(0, 200);
}

const ms = (seconds) => Math.round(seconds * 1000) / 1000;

const keyOf = ({ video, start_s: start, end_s: end, label }) =>
  JSON.stringify([video, start, end, label]);

const withNames = (names, labels) =>
  [...new Set([...names, ...labels.map(({ label }) => label).filter(Boolean)])];

// What tells a file from another of the same name: SHA-256 of its size and both its ends.
export async function markOf(file) {
  const end = 2 ** 20;
  if (!crypto.subtle) return `${file.size}`; // over http from another machine
  const parts = [String(file.size), file.slice(0, end), file.slice(Math.max(0, file.size - end))];
  const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const stemOf = (file) => file.replace(/(?!^)\.[^.]*$/, "");
