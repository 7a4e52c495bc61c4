// A live stream to the server: pictures of a playing <video> go out, answers come in. A connection
// that breaks is opened again, and what the server has not taken in is sent again.

import { Problem, keyProtocol } from "../api.js";

const RATE = 30; // pictures a second, at most
const SHORT_SIDE = 288;
const QUALITY = 0.85;
const MOST_WAITING = 90; // pictures that the server has not taken in; then some are left out
const RESUME_MS = 60000;
const RETRY_MS = [200, 500, 1000, 2000];

export class LiveStream {
  constructor(video, { onmessage, onend, onproblem }) {
    this.video = video;
    this.tell = { onmessage, onend, onproblem };
    this.canvas = document.createElement("canvas");
    this.made = Promise.resolve();
    this.waiting = []; // pictures from number `first` on
    this.first = 0;
    this.sent = 0;
    this.seen = 0;
    this.left = 0;
    this.lastTime = -1;
    this.isEnding = false;
    this.isOver = false;
    this.attempt = 0;
  }

  start(options) {
    this.options = { ...options, input: "pictures" };
    this.begun = performance.now();
    this.connect();
    this.watch();
  }

  // No more pictures: the server answers what is left, and sums up.
  end() {
    this.isEnding = true;
    this.made.then(() => this.flush());
  }

  connect() {
    const url = new URL("v1/live", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.isReady = false;
    this.hasEnded = false;
    this.fault = null;
    this.socket = new WebSocket(url, ["egopack.live.v1", ...keyProtocol()]);
    this.socket.onopen = () => this.socket.send(JSON.stringify(
      this.token ? { resume: this.token, after: this.seen } : this.options));
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => this.closed(code, reason);
  }

  take(message) {
    const { type } = message;
    if (type === "ready" || type === "resumed") {
      this.token = message.token ?? this.token;
      this.acknowledge(message.received);
      this.sent = message.received;
      this.isReady = true;
      this.attempt = 0;
      this.broken = null;
      this.flush();
    } else if (type === "ack") this.acknowledge(message.received);
    else if (type === "error") this.fault = message;
    if (type === "resumed" || message.seq <= this.seen) return;
    this.seen = message.seq;
    if (type === "summary") this.isOver = true;
    this.tell.onmessage(message);
  }

  acknowledge(received) {
    this.waiting.splice(0, received - this.first);
    this.first = received;
  }

  flush() {
    if (!this.isReady || this.socket.readyState !== WebSocket.OPEN) return;
    for (; this.sent < this.first + this.waiting.length; this.sent += 1) {
      this.socket.send(this.waiting[this.sent - this.first]);
    }
    if (this.isEnding && !this.hasEnded) {
      this.hasEnded = true;
      this.socket.send(JSON.stringify({ type: "end" }));
    }
  }

  closed(code, reason) {
    if (this.isOver) return this.tell.onend();
    if (code === 1006 && this.token) {
      this.broken ??= performance.now();
      if (performance.now() - this.broken < RESUME_MS) {
        const wait = RETRY_MS[Math.min(this.attempt, RETRY_MS.length - 1)];
        this.attempt += 1;
        return setTimeout(() => this.connect(), wait);
      }
    }
    this.isOver = true;
    const fallback = code === 1006
      ? "The server did not take the stream, or cannot be reached."
      : `The server ended the stream (${code}).`;
    return this.tell.onproblem(new Problem({ code: this.fault?.code ?? `closed-${code}`,
      title: "The stream has ended", detail: this.fault?.detail || reason || fallback,
      retryable: true }, code));
  }

  // Calls `picture` for every frame that the video shows.
  watch() {
    const next = () => {
      if (this.isOver || this.isEnding) return;
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(frame);
      else setTimeout(frame, 1000 / RATE);
    };
    const frame = (_, facts) => {
      this.picture(this.video.srcObject || !facts ? this.now() : facts.mediaTime);
      next();
    };
    next();
  }

  now() {
    return this.video.srcObject ? (performance.now() - this.begun) / 1000 : this.video.currentTime;
  }

  picture(time) {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width || time - this.lastTime < 0.9 / RATE) return;
    if (this.waiting.length >= MOST_WAITING) {
      this.left += 1;
      return;
    }
    this.lastTime = time;
    const scale = Math.min(1, SHORT_SIDE / Math.min(width, height));
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    const drawn = new Promise((done) => { this.canvas.toBlob(done, "image/jpeg", QUALITY); });
    this.made = this.made.then(() => drawn).then((blob) => { // in order
      if (!blob || this.hasEnded) return;
      const head = new DataView(new ArrayBuffer(8));
      head.setFloat64(0, time, true);
      this.waiting.push(new Blob([head.buffer, blob]));
      this.flush();
    });
  }
}
