// CVAT's XML of one video: a track over the whole picture for each label. Read too: tags of frames.

import { stemOf } from "../project.js";
import { FPS, fileAt, framesOf, secondsOf } from "./frames.js";

export function toCvat(labels, clip) {
  const fps = clip.fps ?? FPS;
  const root = new DOMParser().parseFromString("<annotations/>", "text/xml");
  const add = (parent, tag, attributes = {}, text = "") => {
    const node = parent.appendChild(root.createElement(tag));
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    return node;
  };
  const top = root.documentElement;
  add(top, "version", {}, "1.1");
  const task = add(add(top, "meta"), "task");
  add(task, "name", {}, clip.name);
  add(task, "source", {}, clip.file ?? `${clip.name}.mp4`);
  const offered = add(task, "labels");
  for (const name of new Set(labels.map(({ label }) => label))) {
    add(add(offered, "label"), "name", {}, name);
  }
  labels.forEach(({ video, label, ...exact }, id) => {
    const track = add(top, "track", { id, label, source: "manual", ...exact });
    framesOf(exact, fps).forEach((frame, isEnd) => add(track, "box", { frame, keyframe: 1,
      outside: isEnd, occluded: 0, xtl: 0, ytl: 0, xbr: 1, ybr: 1, z_order: 0 }));
  });
  return `<?xml version="1.0" encoding="utf-8"?>\n${new XMLSerializer().serializeToString(root)}\n`;
}

export function fromCvat(text, clips) {
  const root = new DOMParser().parseFromString(text, "text/xml");
  const broken = root.querySelector("parsererror");
  if (broken) throw new Error(`not XML: ${broken.textContent.trim().split("\n")[1] ?? ""}`);
  const source = ["source", "name"].map((tag) => root.querySelector(`meta ${tag}`)?.textContent.trim())
    .find(Boolean);
  if (root.querySelector("meta > project") || !source) {
    throw new Error("meta: expected the source of one video task; export a project's tasks one by one");
  }
  const video = stemOf(fileAt(encodeURIComponent(source)));
  const fps = clips.find(({ name }) => name === video)?.fps ?? FPS;
  const rule = root.querySelector("frame_filter")?.textContent ?? "";
  const step = Number(/step=\s*(\d+)/.exec(rule)?.[1] ?? 1);
  const tracks = [...root.querySelectorAll("annotations > track")].flatMap((one) => ofTrack(one, fps, step));
  return [...tracks, ...ofTags(root, fps, step)].map((one) => ({ video, ...one }));
}

// A track is there from a shape until one that is outside, or until its last.
function ofTrack(track, fps, step) {
  const label = track.getAttribute("label");
  const where = `track ${track.getAttribute("id")}`;
  const exact = Object.fromEntries(["start_s", "end_s"].map((name) => [name, track.getAttribute(name)]));
  const split = track.getAttribute("split");
  const shapes = [...track.children].filter((one) => one.hasAttribute("frame"))
    .map((one) => [frameOf(one, "frame", where), one.getAttribute("outside") === "1"])
    .sort(([a], [b]) => a - b);
  const found = [];
  let start = null;
  shapes.forEach(([frame, isOutside], k) => {
    if (!isOutside) start ??= frame;
    const isLast = k === shapes.length - 1;
    if (start === null || !(isOutside || isLast)) return;
    found.push([start, isOutside ? frame : frame + step]);
    start = null;
  });
  return found.map((frames) => ({ ...secondsOf(frames, fps, exact), label, ...(split && { split }) }));
}

// Frames one after another that have the same tag are a stretch.
function ofTags(root, fps, step) {
  const frames = new Map();
  for (const tag of root.querySelectorAll("annotations > image > tag")) {
    const frame = frameOf(tag.parentElement, "id", "image");
    const label = tag.getAttribute("label");
    if (!frames.has(label)) frames.set(label, []);
    frames.get(label).push(frame);
  }
  return [...frames].flatMap(([label, found]) => {
    const runs = [];
    for (const frame of found.sort((a, b) => a - b)) {
      if (runs.length && frame <= runs.at(-1)[1]) runs.at(-1)[1] = frame + step;
      else runs.push([frame, frame + step]);
    }
    return runs.map((run) => ({ ...secondsOf(run, fps), label }));
  });
}

function frameOf(element, name, where) {
  const text = element.getAttribute(name) ?? "";
  if (!/^\d+$/.test(text)) throw new Error(`${where}, ${name}: expected a frame's number, got '${text}'`);
  return Number(text);
}
