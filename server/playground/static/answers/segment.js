// Everything about the selected segment: ranked labels, and why.

import { clock, element, percent } from "../dom.js";

const NAMES = { ar: "Action", lta: "Future", oscc: "State change", pnr: "When it changes" };
const nameOf = (task) => NAMES[task] || task;

export function showSegment(root, segment, index, count) {
  const { start_s: start, end_s: end, ar, oscc, pnr, skills, evidence } = segment;
  root.replaceChildren(
    element("h2", {}, `Segment ${index + 1} of ${count}`,
      element("small", {}, ` ${clock(start)} to ${clock(end)}`)),
    element("div", { class: "cards" },
      ar && card("What is done", bars("Verb", ar.verb), bars("Noun", ar.noun)),
      (oscc || pnr) && card("What changes",
        oscc && element("h4", {}, "Does an object change state?"),
        oscc && element("p", { class: "big" }, oscc.state_change ? "Yes" : "No"),
        oscc && bar("state change", oscc.probability),
        pnr && element("h4", {}, oscc && !oscc.state_change ? "If it did, when?" : "When?"),
        pnr && element("p", { class: "big" }, clock(pnr.time_s)),
        pnr && element("p", { class: "note" },
          `source frame ${pnr.frame}, ${percent(pnr.probability)} sure`)),
      Object.entries(skills || {}).map(([name, skill]) => card(name, own(skill)))),
    ...(evidence ? why(evidence).flat() : []));
}

function card(title, ...parts) {
  return element("div", { class: "card" }, element("h3", {}, title), parts);
}

function bars(title, ranked) {
  return element("div", { class: "ranked" },
    element("h4", {}, title), ranked.map(({ label, probability }) => bar(label, probability)));
}

function bar(label, share, text = percent(share)) {
  return element("div", { class: "bar" },
    element("span", { class: "fill", style: { width: `${100 * Math.max(0, share)}%` } }),
    element("span", {}, label), element("span", { class: "value" }, text));
}

function own({ is_certain: isCertain, ...skill }) {
  return [...Object.entries(skill).map(([output, value]) =>
    Array.isArray(value) ? bars(output, value)
      : element("p", {}, `${output}: ${JSON.stringify(value)}`)),
  isCertain === false && element("p", { class: "note" }, "Below its threshold: not certain.")];
}

export function why({ neighbours, votes, examples = {} }) {
  return [
    element("h3", { class: "why" }, "Why: how every perspective voted"),
    votesTable(votes),
    element("h3", { class: "why" }, "and what it remembered"),
    element("p", { class: "note" }, "The nearest prototypes in the backpack, by cosine similarity; ",
      "× is how many training actions a prototype was averaged from."),
    Object.entries(neighbours).map(([skill, perspectives], k) =>
      element("details", { open: k === 0 },
        element("summary", {}, `for ${nameOf(skill)}`),
        element("div", { class: "cards" }, Object.entries(perspectives).map(([task, nearest]) =>
          element("div", { class: "card" },
            element("h4", {}, `${nameOf(task)} perspective`),
            nearest.map(({ verb, noun, labels = { verb, noun }, similarity, count }) =>
              bar(`${Object.values(labels).join(" ")} ×${count}`, similarity, similarity.toFixed(2)))))))),
    Object.entries(examples).map(([skill, nearest]) =>
      element("details", {},
        element("summary", {}, `your examples for ${nameOf(skill)}`),
        nearest.map(({ video, start_s, end_s, label, similarity }) =>
          bar(`${label}: ${video}, ${start_s.toFixed(1)}–${end_s.toFixed(1)} s`,
            similarity, similarity.toFixed(2))))),
  ];
}

export const VOTERS = {
  own: "own view", perspectives: "all perspectives", smoothed: "smoothed perspectives",
  posterior: "nearest prototypes", gaussian: "Gaussian classes", calibrated: "calibrated classes",
  examples: "your examples",
};

// A line for each vote cast, so that it is as wide as any screen: who sides with the own view first.
function votesTable(votes) {
  const title = (voter) => VOTERS[voter] ?? nameOf(voter);
  return element("table", { class: "votes" },
    element("thead", {}, element("tr", {}, ["Answer", "Vote", "By"].map((text) =>
      element("th", { scope: "col" }, text)))),
    Object.entries(votes).map(([output, row]) => {
      const cast = byVote(row);
      return element("tbody", {}, cast.map(([vote, voters], k) => element("tr", {},
        k === 0 && element("th", { scope: "rowgroup", rowspan: String(cast.length) },
          output.replace(".", " ")),
        element("td", { class: vote === row.own || !("own" in row) ? null : "other" }, vote),
        element("td", {}, voters.map(title).join(", ")))));
    }));
}

function byVote(row) {
  const cast = new Map("own" in row ? [[row.own, []]] : []);
  for (const [voter, vote] of Object.entries(row)) {
    if (!cast.has(vote)) cast.set(vote, []);
    cast.get(vote).push(voter);
  }
  return [...cast];
}
