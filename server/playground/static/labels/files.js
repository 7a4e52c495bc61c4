// Labels in and out of files: the labels CSV, Label Studio's JSON, CVAT's XML.

import { save } from "../answers/exports.js";
import { element } from "../dom.js";
import { fromCsv, toCsv } from "./formats/csv.js";
import { fromCvat, toCvat } from "./formats/cvat.js";
import { fromLabelStudio, toLabelStudio } from "./formats/label_studio.js";

// Buttons that save the labels, and one that reads files; `told(text)` hears how it went.
export function fileButtons(project, video, told) {
  const { labels, clips } = project.state;
  const named = labels.filter(({ label }) => label);
  const here = named.filter((one) => one.video === video);
  const button = (title, isOff, file, type, make) => element("button", { type: "button",
    disabled: isOff, onclick: () => save(file, type, make()) }, title);
  const pick = element("input", { type: "file", multiple: true, hidden: true, id: "labels-file",
    accept: ".csv,.json,.xml", "aria-label": "Label files",
    onchange: ({ target }) => read([...target.files], project, told) });
  return [
    button("CSV", !named.length, "labels.csv", "text/csv", () => toCsv(named)),
    button("Label Studio", !named.length, "label-studio.json", "application/json",
      () => toLabelStudio(named, clips)),
    button("CVAT, this clip", !here.length, `${video}.xml`, "application/xml",
      () => toCvat(here, project.clip(video) ?? { name: video })),
    element("button", { type: "button", onclick: () => pick.click() }, "Read a file…"), pick];
}

async function read(files, project, told) {
  const notes = [];
  for (const file of files) {
    try {
      const found = labelsIn(await file.text(), project.state.clips);
      const added = project.take(found);
      notes.push(`${file.name}: ${added} labels${added < found.length
        ? `, and ${found.length - added} that were there before` : ""}.`);
    } catch (error) {
      notes.push(`${file.name}: ${error.message}`);
    }
  }
  told(notes.join(" "));
}

export function labelsIn(text, clips) {
  const begin = text.replace(/^\ufeff/, "").trimStart()[0];
  const reader = { "<": fromCvat, "[": fromLabelStudio, "{": fromLabelStudio }[begin] ?? fromCsv;
  return reader(text, clips);
}
