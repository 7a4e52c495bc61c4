// The next 20 actions: hypotheses that begin alike share their chips, and branch where they differ.

import { element, percent } from "./dom.js";
import { why } from "./segment.js";

export function showFuture(root, lta, truth) {
  if (!lta) {
    root.replaceChildren();
    return;
  }
  const futures = lta.hypotheses.map((steps) => steps.map(({ verb, noun }) => `${verb} ${noun}`));
  const order = futures.map((_, k) => k).sort((a, b) => compare(futures[a], futures[b]));
  const sorted = order.map((k) => futures[k]);
  const grid = element("div", { class: "futures", "aria-hidden": "true",
    style: { gridTemplateColumns: `repeat(${sorted[0].length}, minmax(7rem, 1fr))` } },
  sorted[0].map((_, step) => element("span", { class: "step",
    style: { gridColumn: String(step + 1), gridRow: "1" } }, String(step + 1))),
  chips(sorted));
  if (truth) grid.append(...really(truth, sorted.length + 2));
  root.replaceChildren(
    element("h2", { id: "future-title" }, "What comes next"),
    element("p", { class: "note" }, `${futures.length} sampled futures of ${sorted[0].length} `
      + "actions; where they agree they share a chip."),
    element("div", { class: "scroll", tabindex: "0", role: "region",
      "aria-label": "Next actions; scroll sideways" }, grid),
    element("div", { class: "sr" }, futures.map((steps, k) => element("div", {},
      element("h3", {}, `Future ${k + 1}`),
      element("ol", {}, steps.map((step) => element("li", {}, step)))))),
    element("details", {}, element("summary", {}, "The first steps, ranked"),
      element("div", { class: "cards" }, lta.steps.slice(0, 4).map(ranked))),
    lta.evidence ? element("details", {}, element("summary", {}, "Why"), why(lta.evidence)) : null);
}

function chips(futures) {
  const found = [];
  const place = (first, last, step) => {
    if (step === futures[0].length) return;
    for (let from = first; from < last;) {
      let to = from + 1;
      while (to < last && futures[to][step] === futures[from][step]) to += 1;
      const share = (to - from) / futures.length;
      const text = futures[from][step];
      found.push(element("span", { class: "future", title: `${text}: ${to - from} of `
        + `${futures.length}`, style: { gridColumn: String(step + 1),
        gridRow: `${from + 2} / ${to + 2}`, "--share": String(share) } }, text));
      found.at(-1).style.setProperty("--share", String(share));
      place(from, to, step + 1);
      from = to;
    }
  };
  place(0, futures.length, 0);
  return found;
}

function really(truth, row) {
  return truth.lta.map(({ verb, noun }, step) => element("span", { class: "future true",
    title: "as it really happens", style: { gridColumn: String(step + 1), gridRow: String(row) } },
  `${verb} ${noun}`));
}

function ranked({ verb, noun }, k) {
  const line = (labels) => labels.slice(0, 3)
    .map(({ label, probability }) => `${label} ${percent(probability)}`).join(", ");
  return element("div", { class: "card" }, element("h4", {}, `Step ${k + 1}`),
    element("p", {}, line(verb)), element("p", {}, line(noun)));
}

function compare(a, b) {
  for (let k = 0; k < a.length; k += 1) if (a[k] !== b[k]) return a[k] < b[k] ? -1 : 1;
  return 0;
}
