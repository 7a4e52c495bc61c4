// The next 20 actions: several futures on one grid, where what they share stands in one column.

import { element, percent, renew } from "../dom.js";
import { agreed, align } from "./align.js";
import { why } from "./segment.js";

export function showFuture(root, lta, truth) {
  if (!lta) {
    root.replaceChildren();
    return;
  }
  const futures = lta.hypotheses.map((steps) => steps.map(words));
  const really = truth ? [truth.lta.map(words)] : [];
  const columns = align([...futures, ...really]).map((cells) => columnOf(cells, futures.length));
  renew(root,
    element("h2", { id: "future-title" }, "What comes next"),
    element("p", { class: "note" }, inWords(futures, columns)),
    element("div", { class: "scroll", tabindex: "0", role: "region",
      "aria-label": "Next actions; scroll sideways" },
    element("div", { class: "futures", "aria-hidden": "true", style: {
      gridTemplateColumns: `max-content repeat(${columns.length}, minmax(6.2rem, max-content))` } },
    grid(futures, columns, really.length > 0))),
    element("div", { class: "sr" }, futures.map((steps, k) => element("div", {},
      element("h3", {}, `Future ${k + 1}`),
      element("ol", {}, steps.map((step) => element("li", {}, step)))))),
    element("details", {}, element("summary", {}, "The first steps, ranked"),
      element("div", { class: "cards" }, lta.steps.slice(0, 4).map(ranked))),
    lta.evidence && element("details", {}, element("summary", {}, "Why"), why(lta.evidence)));
}

const words = ({ verb, noun }) => `${verb} ${noun}`;

// A column: what every future has there, what most have, how many; and what really comes.
function columnOf(cells, count) {
  const steps = cells.slice(0, count);
  const [most, votes] = steps.some((one) => one !== null) ? agreed(steps) : [null, 0];
  return { steps, most, votes, truth: cells[count] ?? null };
}

function inWords(futures, columns) {
  const all = futures.length;
  const sharedBy = (least) => columns.filter(({ votes }) => votes >= least)
    .map(({ most, votes }) => (votes < all ? `${most} (${votes})` : most));
  const [every, most] = [sharedBy(all), sharedBy(Math.floor(all / 2) + 1)];
  const lead = `${all} sampled futures of ${futures[0].length} actions, laid side by side: a column `
    + "has what they share, be it a step earlier or later. ";
  if (all < 2) return `One future of ${futures[0].length} actions.`;
  if (!most.length) return `${lead}No action is in most of them.`;
  return `${lead}${every.length ? `All have ${listed(every)}. ` : ""}Most agree on ${most.length} `
    + `${most.length === 1 ? "action" : "actions"}${most.length > every.length
      ? `: ${listed(most)}.` : "."}`;
}

const listed = (names) => names.join(", ");

function grid(futures, columns, hasTruth) {
  const rows = futures.map((_, k) => k);
  const name = (text, row) => element("span", { class: "step", style: place(0, row) }, text);
  const parts = [name("agree", 0), ...rows.map((k) => name(`future ${k + 1}`, k + 1))];
  columns.forEach(({ steps, most, votes, truth }, at) => {
    parts.push(element("span", { class: "agree", style: place(at + 1, 0) },
      votes > 1 ? `${votes} of ${futures.length}` : "–"));
    steps.forEach((step, k) => {
      if (step === null) return;
      const count = steps.filter((one) => one === step).length;
      const chip = element("span", { style: place(at + 1, k + 1),
        class: count > 1 && step === most ? "future shared" : "future",
        title: `${step}: ${count} of ${futures.length}` }, step);
      chip.style.setProperty("--share", String(count > 1 ? count / futures.length : 0));
      parts.push(chip);
    });
    if (truth !== null) {
      parts.push(element("span", { class: "future true", title: "as it really happens",
        style: place(at + 1, futures.length + 1) }, truth));
    }
  });
  return hasTruth ? [...parts, name("really", futures.length + 1)] : parts;
}

const place = (column, row) => ({ gridColumn: String(column + 1), gridRow: String(row + 1) });

function ranked({ verb, noun }, k) {
  const line = (labels) => labels.slice(0, 3)
    .map(({ label, probability }) => `${label} ${percent(probability)}`).join(", ");
  return element("div", { class: "card" }, element("h4", {}, `Step ${k + 1}`),
    element("p", {}, line(verb)), element("p", {}, line(noun)));
}
