// The server's HTTP interface, as much of it as the page needs.

const POLL_MS = 1000;
const STAGES = { learning: "Learning…", activating: "Taking it into service…",
  waiting: "Waiting for something outside the job…" };

export class Problem extends Error {
  constructor(body, status) {
    super(body.detail || body.title || `the server answered ${status}`);
    this.code = body.code || `http-${status}`;
    this.title = body.title;
    this.requestId = body.request_id;
    this.retryable = body.retryable;
    this.errors = body.errors || [];
  }
}

let key = sessionStorage.getItem("key") || "";

export function useKey(text) {
  key = text;
  sessionStorage.setItem("key", text);
}

// A browser sends no header of ours with a WebSocket: the key goes as a subprotocol.
export function keyProtocol() {
  const bytes = String.fromCharCode(...new TextEncoder().encode(key));
  const text = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return key ? [`egopack.key.${text}`] : [];
}

const headers = () => (key ? { Authorization: `Bearer ${key}` } : {});

export const get = (path) => send("GET", path);

// Resolves to the JSON of the answer, null where there is none.
export async function send(method, path, body) {
  const type = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(path, { method, headers: { ...headers(), ...type },
    body: body === undefined ? undefined : JSON.stringify(body) }).catch(unreachable);
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}

export function isSampleThere() {
  return fetch("ui/sample.mp4", { method: "HEAD" }).then((response) => response.ok, () => false);
}

// Resolves to the answer. `told(what, share)` hears how far it is.
export async function predict(file, options, { asJob, told, signal }) {
  const form = new FormData();
  form.append("request", new Blob([JSON.stringify(options)], { type: "application/json" }));
  form.append("video", file);
  const reply = await post("v1/predictions", form, { asJob, told, signal });
  return asJob ? follow(reply, told, signal) : reply;
}

// Has the server keep a clip to learn from, and its video to be looked at.
export function keepClip(name, file, { keepVideo, told, signal }) {
  const form = new FormData();
  form.append("video", file);
  const path = `v1/clips?name=${encodeURIComponent(name)}${keepVideo ? "&keep_video=true" : ""}`;
  return post(path, form, { told, signal });
}

// Resolves to the file of a clip whose video the server keeps.
export async function keptVideo({ id, name }) {
  const response = await fetch(`v1/clips/${encodeURIComponent(id)}/video`, { headers: headers() })
    .catch(unreachable);
  if (!response.ok) throw await problemOf(response);
  const video = await response.blob();
  return new File([video], `${name}.${video.type.split("/")[1]}`, { type: video.type });
}

// Resolves to the report of the skill that was taught.
export async function teach(body, { told, signal }) {
  return follow(await send("POST", "v1/skills", body), told, signal);
}

// XMLHttpRequest, because fetch does not say how much of a body has been sent.
function post(path, body, { asJob, told, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    if (asJob) request.setRequestHeader("Prefer", "respond-async");
    request.upload.onprogress = (event) => {
      const isSent = event.loaded === event.total;
      told(isSent ? "Looking at it…" : "Sending…", isSent ? null : event.loaded / event.total);
    };
    request.onload = () => {
      const json = parse(request.responseText);
      if (request.status < 300 && json) resolve(json);
      else reject(new Problem(json || {}, request.status));
    };
    request.onerror = () => reject(lost());
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

async function follow(job, told, signal) {
  const path = `v1/jobs/${encodeURIComponent(job.id)}`;
  signal.addEventListener("abort", () => {
    fetch(`${path}/cancel`, { method: "POST", headers: headers() }).catch(() => {});
  });
  let misses = 0;
  while (!signal.aborted) {
    const now = await get(path).then(
      (state) => ((misses = 0), state),
      (error) => {
        if (!(error.code === "unreachable") || ++misses > 10) throw error;
        return { state: "queued" }; // a moment without network does not lose the job
      },
    );
    if (now.state === "succeeded") return get(`${path}/result`);
    if (now.state === "failed") throw new Problem(now.error || {}, 500);
    if (now.state === "canceled" || now.state === "expired") {
      throw new Problem({ title: `The job was ${now.state}`, code: now.state }, 410);
    }
    told(now.state === "queued" ? "Waiting its turn…" : STAGES[now.progress?.stage] ?? "Watching it…",
      shareOf(now.progress));
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
  throw new DOMException("stopped", "AbortError");
}

function shareOf(progress) {
  if (typeof progress === "number") return progress;
  if (progress?.windows_total) return progress.windows_done / progress.windows_total;
  return progress?.share ?? null;
}

async function problemOf(response) {
  return new Problem(parse(await response.text()) || {}, response.status);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const lost = () => new Problem({ code: "unreachable", title: "The server cannot be reached",
  detail: "The server cannot be reached; is it still running?", retryable: true }, 0);

function unreachable() {
  throw lost();
}
