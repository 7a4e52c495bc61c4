// Label Studio's JSON: a task for each clip, a region of TimelineLabels for each label.

import { stemOf } from "../project.js";
import { FPS, fileAt, framesOf, secondsOf } from "./frames.js";

const CONTROL = "label";

export function toLabelStudio(labels, clips) {
  const videos = [...new Set(labels.map(({ video }) => video))];
  const tasks = videos.map((video) => {
    const clip = clips.find(({ name }) => name === video);
    const fps = clip?.fps ?? FPS;
    const result = labels.filter((one) => one.video === video).map((one, k) => regionOf(one, k, fps));
    return { data: { video: encodeURIComponent(clip?.file ?? `${video}.mp4`), fps },
      annotations: [{ result }] };
  });
  return `${JSON.stringify(tasks, null, 1)}\n`;
}

function regionOf({ video, label, ...exact }, k, fps) {
  const [first, after] = framesOf(exact, fps);
  const { start_s, end_s, split } = exact;
  return { id: `label-${k + 1}`, from_name: CONTROL, to_name: "video", type: "timelinelabels",
    meta: { start_s, end_s, ...(split && { split }) },
    value: { timelinelabels: [label], ranges: [{ start: first + 1, end: after }] } };
}

export function fromLabelStudio(text, clips) {
  const tasks = JSON.parse(text);
  if (!Array.isArray(tasks)) throw new Error("expected a list of tasks, as in an export in the format JSON");
  return tasks.flatMap((task, k) => labelsOf(task, task?.id ?? k, clips));
}

function labelsOf(task, id, clips) {
  if (!task?.data || !Array.isArray(task.annotations)) {
    throw new Error(`task ${id}: expected 'data' and 'annotations', as in an export in the format JSON`);
  }
  const address = task.data.video ?? Object.values(task.data).find((value) =>
    typeof value === "string" && /\.(mp4|m4v|mov|mkv|webm|avi)\b/i.test(value));
  if (typeof address !== "string") throw new Error(`task ${id}, data: expected one address of a video`);
  const video = stemOf(fileAt(address));
  const fps = task.data.fps ?? clips.find(({ name }) => name === video)?.fps ?? FPS;
  return resultOf(task).flatMap((item, k) => stretches(item, `task ${id}, region ${item.id ?? k}`, fps)
    .map((one) => ({ video, ...one })));
}

// Of several annotations the one marked as ground truth counts, or else the last that was changed.
function resultOf({ annotations }) {
  const rank = (one) => `${one.ground_truth ? 1 : 0}${one.updated_at ?? ""}`;
  const there = annotations.filter((one) => !one.was_cancelled && Array.isArray(one.result));
  return there.length ? there.reduce((a, b) => (rank(b) > rank(a) ? b : a)).result : [];
}

function stretches({ type, value, meta }, where, fps) {
  const label = value?.[type]?.[0];
  if (typeof label !== "string") return [];
  const split = meta?.split && { split: meta.split };
  if (!Array.isArray(value.ranges)) {
    if (!("start" in value && "end" in value)) return [];
    return [{ ...checked(value.start, value.end, 0, where), label, ...split }];
  }
  return value.ranges.map(({ start, end }) => {
    checked(start, end, 1, where);
    return { ...secondsOf([start - 1, end], fps, meta), label, ...split };
  });
}

function checked(start, end, least, where) {
  if (Number.isFinite(start) && Number.isFinite(end) && least <= start && start <= end) {
    return { start_s: start, end_s: end };
  }
  throw new Error(`${where}: expected a start and an end from ${least} on, in order, got `
    + `${JSON.stringify([start, end])}`);
}
