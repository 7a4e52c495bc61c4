// The page: a clip comes in, answers are drawn around it.

import { Problem, get, isSampleThere, predict, useKey } from "./api.js";
import { clock, element } from "./dom.js";
import { showExports } from "./answers/exports.js";
import { showFuture } from "./answers/future.js";
import { showSegment } from "./answers/segment.js";
import { Timeline } from "./answers/timeline.js";
import { offerKept } from "./labels/kept.js";
import { Labeller } from "./labels/labeller.js";
import { Present } from "./live/present.js";
import { LiveStream } from "./live/stream.js";
import { Teach } from "./teach/teach.js";

const at = (id) => document.getElementById(id);
const video = at("video");
const timeline = new Timeline(at("timeline"), {
  onseek: (seconds) => { video.currentTime = seconds; },
  onselect: select,
});
const labeller = new Labeller(at("labelling"), video, { onopen: run, onchange: () => teach.draw() });
const teach = new Teach(at("teaching"), labeller, {
  onask: (seconds) => {
    at("segment-s").value = seconds;
    if (labeller.file) run(labeller.file);
  },
  ongo: goTo,
  onkept: (clips) => offerKept(at("kept"), clips, { onopen: run, onfail: fail }),
});
let answer = null;
let limits = null;
let running = null;
let again = null;
let stream = null;

async function start() {
  try {
    const { models } = await get("v1/models");
    limits = await get("v1/limits");
    const [{ name, version }] = models;
    at("model").textContent = `${name} ${version}`;
    at("model").hidden = false;
    const megabytes = Math.round(limits.max_upload_bytes / 2 ** 20);
    const minutes = Math.round(limits.job_max_duration_s / 60);
    at("limits").textContent = `MP4, MOV, MKV, WebM or AVI. Up to ${limits.max_duration_s} s and `
      + `${megabytes} MB are answered at once; up to ${minutes} min become a job, with progress.`;
    at("key").hidden = true;
    await teach.start();
  } catch (error) {
    fail(error, start);
  }
  at("sample").hidden = !(await isSampleThere());
}

async function run(file, { segments, truth } = {}) {
  running?.abort();
  leave();
  running = new AbortController();
  const mine = running;
  at("problem").hidden = true;
  at("work").hidden = true;
  await load(file);
  const length = at("segment-s").value;
  const options = segments ? { segments } : length ? { segment_s: Number(length) } : {};
  try {
    const known = Number.isFinite(video.duration) ? video.duration : 0;
    const call = (asJob) => predict(file, options, { asJob, told, signal: mine.signal });
    const found = await call(known > (limits?.max_duration_s ?? Infinity)).catch((error) => {
      if (!/^too-(long|large)-for-sync$/.test(error.code)) throw error;
      return call(true);
    });
    if (mine !== running) return;
    await show(found, file.name, { truth, file });
  } catch (error) {
    if (mine !== running || error.name === "AbortError") return;
    fail(error, () => run(file, { segments, truth }));
  } finally {
    if (mine === running) told(null);
  }
}

// The first is shown; the others are there to be labelled.
function open([first, ...others]) {
  if (!first) return;
  run(first);
  labeller.meet(others);
}

// Some videos a server can read a browser cannot: the answers are shown all the same.
function load(file) {
  if (video.src) URL.revokeObjectURL(video.src);
  video.src = URL.createObjectURL(file);
  return new Promise((done) => {
    video.onloadedmetadata = done;
    video.onerror = done;
  });
}

function show(found, name, { truth, file } = {}) {
  answer = found;
  at("work").hidden = false;
  video.hidden = Boolean(video.error) || !video.src;
  timeline.show(answer, truth);
  at("labelling").hidden = !file;
  const labelled = labeller.show(file, answer, timeline);
  showFuture(at("future"), answer.lta, truth);
  showExports(at("exports"), answer, name);
  select(truth ? answer.segments.length - 1 : 0);
  const seconds = (answer.timings.total_ms / 1000).toFixed(1);
  const odd = (answer.warnings || []).map(({ detail }) => ` ${detail}.`).join("");
  at("status").textContent = `${name}: ${clock(answer.input.duration_s)} answered in ${seconds} s.`
    + (video.error ? " This browser cannot play it." : "") + odd;
  return labelled;
}

// A stretch of a clip that was chosen in this visit, to be labelled.
async function goTo(segment) {
  if (labeller.name !== segment.video) {
    const file = labeller.files.get(segment.video);
    if (file) await run(file);
    else at("status").textContent = `Choose the file of ${segment.video} again to see it.`;
  }
  if (labeller.name !== segment.video) return;
  video.currentTime = segment.start_s;
  labeller.propose(segment);
  at("player").scrollIntoView({ block: "nearest" });
}

function select(index) {
  timeline.select(index);
  showSegment(at("answers"), answer.segments[index], index, answer.segments.length);
}

function told(what, share = null) {
  const bar = at("progress");
  bar.hidden = what === null;
  if (what === null) return;
  at("status").textContent = what;
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

function fail(error, retry) {
  if (!(error instanceof Problem)) throw error;
  at("status").textContent = "";
  again = retry;
  if (error.code === "unauthenticated") {
    at("key").hidden = false;
    at("key-text").focus();
    return;
  }
  at("problem").replaceChildren(element("div", {},
    element("strong", {}, error.title || "That did not work"),
    element("p", {}, error.message),
    error.errors.map(({ pointer, detail }) => element("p", {}, `${pointer}: ${detail}`)),
    error.retryable ? element("button", { type: "button", onclick: () => again() }, "Try again") : null,
    element("p", { class: "note" }, error.code, error.requestId ? `, request ${error.requestId}` : "")));
  at("problem").hidden = false;
}

// The camera is asked for here, after a click, and let go at the end.
async function useCamera() {
  try {
    const camera = await navigator.mediaDevices.getUserMedia({ audio: false,
      video: { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 480 } } });
    await goLive(camera, "camera");
  } catch (error) {
    fail(new Problem({ code: "no-camera", title: "The camera cannot be used", retryable: true,
      detail: `${error.message || error.name}. A page may use one over https or on this machine.` },
    0), useCamera);
  }
}

async function goLive(source, name) {
  running?.abort();
  running = null;
  leave();
  for (const id of ["problem", "work", "progress"]) at(id).hidden = true;
  at("status").textContent = "";
  if (source instanceof File) await load(source);
  else video.srcObject = source;
  const present = new Present(at("present"), at("events"));
  at("live").hidden = false;
  at("stage").append(video);
  video.hidden = false;
  const mine = stream = new LiveStream(video, {
    onmessage: (message) => {
      present.take(message);
      if (message.type === "summary" && mine === stream) summed(message.result, name, source);
    },
    onend: () => {},
    onproblem: (problem) => {
      if (mine !== stream) return;
      leave();
      fail(problem, () => (source instanceof File ? goLive(source, name) : useCamera()));
    },
  });
  video.onended = () => mine.end();
  mine.start({});
  await video.play();
}

// Ends a live stream at once, lets the camera go, and puts the video back.
function leave() {
  stream?.end();
  stream = null;
  video.onended = null;
  at("live").hidden = true;
  at("player").prepend(video);
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

function summed(found, name, source) {
  leave();
  const { start_s: start } = found.segments[0];
  found.input ??= { start_s: start, duration_s: found.segments.at(-1).end_s - start, fps: 30 };
  show(found, name, { file: source instanceof File ? source : null });
}

async function runSample() {
  const [clip, truth] = await Promise.all([
    fetch("ui/sample.mp4").then((reply) => reply.blob()),
    fetch("ui/sample.json").then((reply) => reply.json()),
  ]);
  await run(new File([clip], "sample.mp4", { type: "video/mp4" }), { segments: truth.segments, truth });
}

function onKey(event) {
  if (!at("work").hidden && labeller.key(event)) {
    event.preventDefault();
    return;
  }
  const isTyping = event.target.closest("input, select, video, summary, button, a");
  if (!answer || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
  const frame = 1 / answer.input.fps;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ",": -frame, ".": frame };
  const current = answer.segments.findIndex((one) => one.end_s > video.currentTime + 1e-3);
  const jumps = { "[": Math.max(0, current - 1), "]": Math.min(answer.segments.length - 1,
    current + 1) };
  if (event.key in steps) video.currentTime += steps[event.key];
  else if (event.key in jumps) {
    video.currentTime = answer.segments[jumps[event.key]].start_s;
    select(jumps[event.key]);
  } else if (event.key === " ") {
    if (video.paused) video.play();
    else video.pause();
  } else return;
  event.preventDefault();
}

at("pick").onclick = () => at("file").click();
at("file").onchange = ({ target }) => {
  open([...target.files]);
  target.value = "";
};
at("sample").onclick = runSample;
at("camera").onclick = useCamera;
at("play").onclick = () => at("file-live").click();
at("file-live").onchange = ({ target }) => {
  if (target.files[0]) goLive(target.files[0], target.files[0].name);
  target.value = "";
};
at("stop").onclick = () => {
  video.pause();
  at("present").append(element("p", { class: "note" }, "Summing up…"));
  stream?.end();
};
at("key").onsubmit = (event) => {
  event.preventDefault();
  useKey(at("key-text").value);
  at("key").hidden = true;
  again?.();
};
document.ondragover = (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
};
document.ondragleave = () => at("drop").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  open([...event.dataTransfer.files]);
};
document.onkeydown = onKey;

function follow() {
  if (answer) timeline.at(video.currentTime);
  if (!video.paused) requestAnimationFrame(follow);
}

video.onplay = follow;
video.ontimeupdate = follow;
video.onseeking = follow;
start();
