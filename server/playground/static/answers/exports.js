// The answer as files: JSON as it came, CSV for tables, WebVTT for players.

import { element } from "../dom.js";

export function showExports(root, answer, name) {
  const stem = name.replace(/\.[^.]*$/, "") || "clip";
  const kinds = [
    ["JSON", `${stem}.json`, "application/json", () => `${JSON.stringify(answer, null, 1)}\n`],
    ["CSV", `${stem}.csv`, "text/csv", () => toCsv(answer)],
    ["WebVTT", `${stem}.vtt`, "text/vtt", () => toVtt(answer)],
  ];
  root.replaceChildren(element("div", { class: "row" }, element("span", {}, "Save as"),
    kinds.map(([title, file, type, make]) => element("button",
      { type: "button", onclick: () => save(file, type, make()) }, title))));
}

export function save(file, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: address, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

export function toCsv({ segments, lta }) {
  const rows = [["task", "start_s", "end_s", "output", "rank", "label", "probability"]];
  for (const { start_s: start, end_s: end, ar, oscc, pnr, skills } of segments) {
    for (const [output, labels] of Object.entries(ar || {})) {
      labels.forEach(({ label, probability }, k) =>
        rows.push(["ar", start, end, output, k + 1, label, probability]));
    }
    for (const [name, { labels = [] }] of Object.entries(skills || {})) {
      labels.forEach(({ label, probability }, k) =>
        rows.push([name, start, end, "label", k + 1, label, probability]));
    }
    if (oscc) rows.push(["oscc", start, end, "state_change", 1, oscc.state_change, oscc.probability]);
    if (pnr) rows.push(["pnr", start, end, "time_s", 1, pnr.time_s, pnr.probability]);
  }
  (lta?.hypotheses || []).forEach((steps, future) => steps.forEach(({ verb, noun }, step) =>
    rows.push(["lta", "", "", `future ${future + 1} step ${step + 1}`, "", `${verb} ${noun}`, ""])));
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

// A spreadsheet would compute text that begins so; a quote before it marks it as text.
const FORMULA = /^[=+\-@\t\r\n]/;

function cell(value) {
  const isFormula = FORMULA.test(value) && Number.isNaN(Number(value));
  const text = isFormula ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function toVtt({ segments }) {
  const cues = segments.map(({ start_s: start, end_s: end, ar, oscc, pnr }) => {
    const lines = [
      ar && `${ar.verb[0].label} ${ar.noun[0].label}`,
      oscc && (oscc.state_change ? `state change${pnr ? ` at ${pnr.time_s.toFixed(2)} s` : ""}`
        : "no state change"),
    ].filter(Boolean).map((line) => line.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;").replace(/\s+/g, " ").trim());
    return `${stamp(start)} --> ${stamp(end)}\n${lines.join("\n")}\n`;
  });
  return `WEBVTT\n\n${cues.join("\n")}`;
}

function stamp(seconds) {
  const whole = Math.round(seconds * 1000);
  const part = (value, width) => String(Math.floor(value)).padStart(width, "0");
  return `${part(whole / 3600000, 2)}:${part((whole / 60000) % 60, 2)}:`
    + `${part((whole / 1000) % 60, 2)}.${part(whole % 1000, 3)}`;
}
